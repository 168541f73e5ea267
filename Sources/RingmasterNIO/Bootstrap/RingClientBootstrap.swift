import Dispatch
import NIOCore
import Transport

/// Makes connected channels, as SwiftNIO's `ClientBootstrap` does, on loops of this module.
///
/// TCP_NODELAY is on unless an option says otherwise. Not to be used from several threads at once.
public final class RingClientBootstrap: NIOClientTCPBootstrapProtocol {
    private let group: any NIOCore.EventLoopGroup
    private var setUp = ChannelSetUp()
    private var protocolHandlers: (@Sendable () -> [any ChannelHandler])?
    private var timeout: TimeAmount = .seconds(10)
    private var streamProtocol = StreamProtocol.usual
    /// Tests put another in its place, for names of which they know the addresses.
    var lookUp: LookUp = HostLookup.addresses(of:port:)

    /// Connects on the loops of `group` in turn.
    ///
    /// - Precondition: it has loops of this module only.
    public convenience init(group: any NIOCore.EventLoopGroup) {
        guard group.isRingGroup else {
            preconditionFailure("RingClientBootstrap needs a RingEventLoopGroup or a RingEventLoop")
        }
        self.init(checked: group)
    }

    /// As ``init(group:)``; nil when a loop is of another kind.
    public convenience init?(validatingGroup group: any NIOCore.EventLoopGroup) {
        guard group.isRingGroup else { return nil }
        self.init(checked: group)
    }

    private init(checked group: any NIOCore.EventLoopGroup) {
        self.group = group
        setUp.options.append(key: .tcpOption(.tcp_nodelay), value: 1)
    }

    /// Called with each new channel before it is registered: adds its handlers.
    public func channelInitializer(
        _ initializer: @escaping @Sendable (any NIOCore.Channel) -> EventLoopFuture<Void>
    ) -> Self {
        setUp.initializer = initializer
        return self
    }

    /// Handlers to be in the pipeline before those of the initializer, which is called first.
    public func protocolHandlers(_ handlers: @escaping @Sendable () -> [any ChannelHandler]) -> Self {
        precondition(protocolHandlers == nil, "protocol handlers are set once")
        protocolHandlers = handlers
        return self
    }

    /// An option of each channel.
    public func channelOption<Option: ChannelOption>(_ option: Option, value: Option.Value) -> Self {
        setUp.options.append(key: option, value: value)
        return self
    }

    /// How long connecting may take, all addresses of a name together. 10 seconds unless set.
    public func connectTimeout(_ timeout: TimeAmount) -> Self {
        self.timeout = timeout
        return self
    }

    /// The address to connect from.
    public func bind(to address: NIOCore.SocketAddress) -> Self {
        setUp.localAddress = address
        return self
    }

    /// Whether to speak Multipath TCP where the peer does, TCP where not. Enabling it takes TCP_NODELAY back,
    /// as with SwiftNIO's bootstrap: older kernels refuse the option on such sockets. Connecting fails where the kernel has
    /// no MPTCP.
    public func enableMPTCP(_ value: Bool) -> Self {
        streamProtocol = value ? .multipath : .usual
        if value { setUp.options.remove(key: .tcpOption(.tcp_nodelay)) }
        return self
    }

    // MARK: Connecting

    /// Connects to an address. Its future fails with `ChannelError.connectTimeout` or with what connect(2) says.
    public func connect(to address: NIOCore.SocketAddress) -> EventLoopFuture<any NIOCore.Channel> {
        connect(.address(address), ChannelSetUp.nothingMore).map(\.0)
    }

    /// Connects to the first address of `host` that answers, a new attempt being made every 250 ms while the others go on
    /// (RFC 8305). The name is looked up on another thread.
    public func connect(host: String, port: Int) -> EventLoopFuture<any NIOCore.Channel> {
        connect(host, port, ChannelSetUp.nothingMore).map(\.0)
    }

    /// Connects to a Unix-domain path.
    public func connect(unixDomainSocketPath path: String) -> EventLoopFuture<any NIOCore.Channel> {
        group.withAddress({ try .init(unixDomainSocketPath: path) }, connect(to:))
    }

    /// Takes over a connected socket, and its blocking mode with it: O_NONBLOCK is cleared.
    public func withConnectedSocket(_ socket: NIOBSDSocket.Handle) -> EventLoopFuture<any NIOCore.Channel> {
        connect(.socket(socket), ChannelSetUp.nothingMore).map(\.0)
    }

    // MARK: Connecting, from asynchronous code

    /// Connects to an address; returns what `channelInitializer` has made of the channel.
    public func connect<Output: Sendable>(
        to address: NIOCore.SocketAddress,
        channelInitializer: @escaping @Sendable (any NIOCore.Channel) -> EventLoopFuture<Output>
    ) async throws -> Output {
        try await connect(.address(address), channelInitializer).map(\.1).get()
    }

    /// As ``connect(host:port:)``; returns what `channelInitializer` has made of the channel.
    public func connect<Output: Sendable>(
        host: String, port: Int,
        channelInitializer: @escaping @Sendable (any NIOCore.Channel) -> EventLoopFuture<Output>
    ) async throws -> Output {
        try await connect(host, port, channelInitializer).map(\.1).get()
    }

    /// Connects to a Unix-domain path; returns what `channelInitializer` has made of the channel.
    public func connect<Output: Sendable>(
        unixDomainSocketPath path: String,
        channelInitializer: @escaping @Sendable (any NIOCore.Channel) -> EventLoopFuture<Output>
    ) async throws -> Output {
        try await connect(to: .init(unixDomainSocketPath: path), channelInitializer: channelInitializer)
    }

    /// Takes over a connected socket, and its blocking mode with it: O_NONBLOCK is cleared; returns what `channelInitializer` has made of the channel.
    public func withConnectedSocket<Output: Sendable>(
        _ socket: NIOBSDSocket.Handle,
        channelInitializer: @escaping @Sendable (any NIOCore.Channel) -> EventLoopFuture<Output>
    ) async throws -> Output {
        try await connect(.socket(socket), channelInitializer).map(\.1).get()
    }

    // MARK: The one way

    private enum Target: Sendable {
        case address(NIOCore.SocketAddress)
        case socket(Int32)
    }

    private func connect<Output: Sendable>(
        _ target: Target, _ initialize: @escaping @Sendable (any NIOCore.Channel) -> EventLoopFuture<Output>
    ) -> EventLoopFuture<(any NIOCore.Channel, Output)> {
        let loop = group.nextRingLoop()
        do throws(IOError) {
            let plan = plan(timeout)
            return Self.connect(try Self.channel(target, on: loop, plan.streamProtocol), target, plan, initialize)
        } catch {
            return loop.makeFailedFuture(error)
        }
    }

    private func connect<Output: Sendable>(
        _ host: String, _ port: Int, _ initialize: @escaping @Sendable (any NIOCore.Channel) -> EventLoopFuture<Output>
    ) -> EventLoopFuture<(any NIOCore.Channel, Output)> {
        let loop = group.nextRingLoop()
        let plan = plan(timeout)
        guard let port = UInt16(exactly: port) else {
            return loop.makeFailedFuture(SocketAddressError.unsupported)
        }
        return AddressRace.run(host, port, on: loop, timeout: timeout, lookUp: lookUp) { address in
            do throws(IOError) {
                let channel = try Self.channel(.address(address), on: loop, plan.streamProtocol)
                return .init(result: Self.connect(channel, .address(address), plan, initialize)) {
                    channel.close(promise: nil)
                }
            } catch {
                return .init(result: loop.makeFailedFuture(error)) {}
            }
        } discard: { output in
            output.0.close(promise: nil)
        }
    }

    private struct Plan: Sendable {
        var setUp: ChannelSetUp
        var timeout: TimeAmount
        var streamProtocol: StreamProtocol
    }

    private func plan(_ timeout: TimeAmount) -> Plan {
        var setUp = setUp
        if let protocolHandlers {
            let initializer = setUp.initializer
            setUp.initializer = { channel in
                (initializer ?? ChannelSetUp.nothingMore)(channel).hop(to: channel.eventLoop)
                    .flatMapThrowing {
                        try channel.pipeline.syncOperations.addHandlers(protocolHandlers(), position: .first)
                    }
            }
        }
        return Plan(setUp: setUp, timeout: timeout, streamProtocol: streamProtocol)
    }

    private static func channel(
        _ target: Target, on loop: RingEventLoop, _ streamProtocol: StreamProtocol
    ) throws(IOError) -> RingStreamChannel {
        switch target {
        case .address(let address):
            do throws(CoreError) {
                return RingStreamChannel(loop, fd: try streamProtocol.socket(for: address))
            } catch {
                throw IOError(error)
            }
        case .socket(let fd):
            CoreSocket.setBlocking(fd)
            return RingStreamChannel(loop, fd: fd)
        }
    }

    private static func connect<Output: Sendable>(
        _ channel: RingStreamChannel, _ target: Target, _ plan: Plan,
        _ initialize: @escaping @Sendable (any NIOCore.Channel) -> EventLoopFuture<Output>
    ) -> EventLoopFuture<(any NIOCore.Channel, Output)> {
        channel.onLoop {
            channel.setConnectTimeout(plan.timeout)
            return plan.setUp.apply(to: channel).flatMap { initialize(channel) }.flatMap { output in
                let isConnected: EventLoopFuture<Void>
                switch target {
                case .address(let address): isConnected = channel.register { channel.connect(to: address) }
                case .socket: isConnected = channel.registerConfigured()
                }
                return isConnected.map { (channel, output) }
            }
        }
    }
}
