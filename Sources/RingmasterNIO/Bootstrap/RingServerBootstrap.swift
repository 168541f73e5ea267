import Glibc
import NIOCore
import Transport

/// Makes listener channels, as SwiftNIO's `ServerBootstrap` does, on loops of this module.
///
/// TCP_NODELAY is on unless an option says otherwise. Not to be used from several threads at once.
public final class RingServerBootstrap {
    private let group: any NIOCore.EventLoopGroup
    private let childGroup: any NIOCore.EventLoopGroup
    private var setUp = ChannelSetUp()
    private var childSetUp = ChannelSetUp()
    private var streamProtocol = StreamProtocol.usual

    /// Listens, and serves connections, on the loops of `group`.
    public convenience init(group: any NIOCore.EventLoopGroup) {
        self.init(group: group, childGroup: group)
    }

    /// Listens on a loop of `group`, and serves connections on those of `childGroup` in turn.
    ///
    /// - Precondition: both have loops of this module only.
    public convenience init(group: any NIOCore.EventLoopGroup, childGroup: any NIOCore.EventLoopGroup) {
        guard group.isRingGroup, childGroup.isRingGroup else {
            preconditionFailure("RingServerBootstrap needs a RingEventLoopGroup or a RingEventLoop")
        }
        self.init(checked: group, childGroup)
    }

    /// As ``init(group:childGroup:)``; nil when a loop is of another kind.
    public convenience init?(
        validatingGroup group: any NIOCore.EventLoopGroup, childGroup: (any NIOCore.EventLoopGroup)? = nil
    ) {
        let childGroup = childGroup ?? group
        guard group.isRingGroup, childGroup.isRingGroup else { return nil }
        self.init(checked: group, childGroup)
    }

    private init(checked group: any NIOCore.EventLoopGroup, _ childGroup: any NIOCore.EventLoopGroup) {
        self.group = group
        self.childGroup = childGroup
        setUp.options.append(key: .tcpOption(.tcp_nodelay), value: 1)
    }

    /// Called with each new listener channel before it is registered.
    public func serverChannelInitializer(
        _ initializer: @escaping @Sendable (any NIOCore.Channel) -> EventLoopFuture<Void>
    ) -> Self {
        setUp.initializer = initializer
        return self
    }

    /// Called with the channel of each connection before it is registered: adds its handlers.
    public func childChannelInitializer(
        _ initializer: @escaping @Sendable (any NIOCore.Channel) -> EventLoopFuture<Void>
    ) -> Self {
        childSetUp.initializer = initializer
        return self
    }

    /// An option of the listener channel.
    public func serverChannelOption<Option: ChannelOption>(_ option: Option, value: Option.Value) -> Self {
        setUp.options.append(key: option, value: value)
        return self
    }

    /// An option of each connection's channel.
    public func childChannelOption<Option: ChannelOption>(_ option: Option, value: Option.Value) -> Self {
        childSetUp.options.append(key: option, value: value)
        return self
    }

    /// Whether connections speak Multipath TCP where the peer does, TCP where not. Enabling it takes TCP_NODELAY back,
    /// as with SwiftNIO's bootstrap: older kernels refuse the option on such sockets. Binding fails where the kernel has
    /// no MPTCP, and a socket that is bound already is refused.
    public func enableMPTCP(_ value: Bool) -> Self {
        streamProtocol = value ? .multipath : .usual
        if value { setUp.options.remove(key: .tcpOption(.tcp_nodelay)) }
        return self
    }

    // MARK: Binding

    /// Listens on an address. Its future fails with what socket(2), bind(2) or listen(2) says.
    public func bind(to address: NIOCore.SocketAddress) -> EventLoopFuture<any NIOCore.Channel> {
        bind(.address(address), tellsFailures: true, childInitializer: Self.itself) { $0 }
    }

    /// Listens on the first address of `host`; blocks while the name is looked up.
    public func bind(host: String, port: Int) -> EventLoopFuture<any NIOCore.Channel> {
        group.withAddress({ try .makeAddressResolvingHost(host, port: port) }, bind(to:))
    }

    /// Listens on a Unix-domain path.
    ///
    /// - Parameter cleanupExistingSocketFile: remove a socket that is there already; anything else there is an error.
    public func bind(
        unixDomainSocketPath path: String, cleanupExistingSocketFile: Bool = false
    ) -> EventLoopFuture<any NIOCore.Channel> {
        group.withAddress({ try .init(unixDomainSocketPath: path, cleaningUp: cleanupExistingSocketFile) }, bind(to:))
    }

    /// Listens on a socket that is bound already, whose O_NONBLOCK is cleared; the channel owns it from then on.
    public func withBoundSocket(_ socket: NIOBSDSocket.Handle) -> EventLoopFuture<any NIOCore.Channel> {
        bind(.socket(socket), tellsFailures: true, childInitializer: Self.itself) { $0 }
    }

    // MARK: Binding, with an asynchronous sequence of connections

    /// Listens on an address. What comes of each connection by `childChannelInitializer` is an element of the inbound
    /// sequence; when that fails, the connection is closed and the sequence goes on.
    ///
    /// - Parameter serverBackPressureStrategy: how many connections may wait there; then no more are accepted.
    public func bind<Output: Sendable>(
        to address: NIOCore.SocketAddress,
        serverBackPressureStrategy: NIOAsyncSequenceProducerBackPressureStrategies.HighLowWatermark? = nil,
        childChannelInitializer: @escaping @Sendable (any NIOCore.Channel) -> EventLoopFuture<Output>
    ) async throws -> NIOAsyncChannel<Output, Never> {
        try await bind(.address(address), serverBackPressureStrategy, childChannelInitializer)
    }

    /// As ``bind(to:serverBackPressureStrategy:childChannelInitializer:)``, on the first address of `host`.
    public func bind<Output: Sendable>(
        host: String, port: Int,
        serverBackPressureStrategy: NIOAsyncSequenceProducerBackPressureStrategies.HighLowWatermark? = nil,
        childChannelInitializer: @escaping @Sendable (any NIOCore.Channel) -> EventLoopFuture<Output>
    ) async throws -> NIOAsyncChannel<Output, Never> {
        let address = try NIOCore.SocketAddress.makeAddressResolvingHost(host, port: port)
        return try await bind(.address(address), serverBackPressureStrategy, childChannelInitializer)
    }

    /// As ``bind(to:serverBackPressureStrategy:childChannelInitializer:)``, on a Unix-domain path.
    public func bind<Output: Sendable>(
        unixDomainSocketPath path: String, cleanupExistingSocketFile: Bool = false,
        serverBackPressureStrategy: NIOAsyncSequenceProducerBackPressureStrategies.HighLowWatermark? = nil,
        childChannelInitializer: @escaping @Sendable (any NIOCore.Channel) -> EventLoopFuture<Output>
    ) async throws -> NIOAsyncChannel<Output, Never> {
        let address = try NIOCore.SocketAddress(unixDomainSocketPath: path, cleaningUp: cleanupExistingSocketFile)
        return try await bind(.address(address), serverBackPressureStrategy, childChannelInitializer)
    }

    /// As ``bind(to:serverBackPressureStrategy:childChannelInitializer:)``, on a socket that is bound already.
    public func bind<Output: Sendable>(
        _ socket: NIOBSDSocket.Handle, cleanupExistingSocketFile: Bool = false,
        serverBackPressureStrategy: NIOAsyncSequenceProducerBackPressureStrategies.HighLowWatermark? = nil,
        childChannelInitializer: @escaping @Sendable (any NIOCore.Channel) -> EventLoopFuture<Output>
    ) async throws -> NIOAsyncChannel<Output, Never> {
        try await bind(.socket(socket), serverBackPressureStrategy, childChannelInitializer)
    }

    private func bind<Output: Sendable>(
        _ origin: Origin, _ backPressure: NIOAsyncSequenceProducerBackPressureStrategies.HighLowWatermark?,
        _ childInitializer: @escaping @Sendable (any NIOCore.Channel) -> EventLoopFuture<Output>
    ) async throws -> NIOAsyncChannel<Output, Never> {
        try await bind(origin, tellsFailures: false, childInitializer: childInitializer) { channel in
            var configuration = NIOAsyncChannel<Output, Never>.Configuration()
            if let backPressure { configuration.backPressureStrategy = backPressure }
            return try NIOAsyncChannel<Output, Never>(
                wrappingChannelSynchronously: channel, configuration: configuration)
        }.get()
    }

    // MARK: The one way

    private enum Origin: Sendable {
        case address(NIOCore.SocketAddress)
        case socket(Int32)

        func socket(_ streamProtocol: StreamProtocol) throws -> Int32 {
            switch self {
            case .address(let address):
                do throws(CoreError) {
                    return try streamProtocol.socket(for: address)
                } catch {
                    throw IOError(error)
                }
            case .socket(let fd):
                // What it speaks is settled.
                if streamProtocol == .multipath { throw ChannelError.operationUnsupported }
                CoreSocket.setBlocking(fd)
                return fd
            }
        }
    }

    private static var itself: @Sendable (any NIOCore.Channel) -> EventLoopFuture<any NIOCore.Channel> {
        { $0.eventLoop.makeSucceededFuture($0) }
    }

    /// - Parameter wrap: makes the result of the channel, on its loop, when it is set up and before it is registered.
    private func bind<Output: Sendable, Result: Sendable>(
        _ origin: Origin, tellsFailures: Bool,
        childInitializer: @escaping @Sendable (any NIOCore.Channel) -> EventLoopFuture<Output>,
        wrap: @escaping @Sendable (any NIOCore.Channel) throws -> Result
    ) -> EventLoopFuture<Result> {
        let loop = group.nextRingLoop()
        let childGroup = childGroup
        let channel: RingListenerChannel
        do {
            channel = RingListenerChannel(loop, fd: try origin.socket(streamProtocol)) { childGroup.nextRingLoop() }
        } catch {
            return loop.makeFailedFuture(error)
        }
        let (setUp, childSetUp) = (setUp, childSetUp)
        return channel.onLoop {
            setUp.apply(to: channel).flatMapThrowing {
                let accept = AcceptHandler(childSetUp, tellsFailures: tellsFailures, childInitializer)
                try channel.pipeline.syncOperations.addHandler(accept, name: "AcceptHandler")
                return try wrap(channel)
            }.flatMap { result in
                let isBound: EventLoopFuture<Void>
                switch origin {
                case .address(let address): isBound = channel.register { channel.bind(to: address) }
                case .socket: isBound = channel.registerConfigured()
                }
                return isBound.map { result }
            }
        }
    }
}
