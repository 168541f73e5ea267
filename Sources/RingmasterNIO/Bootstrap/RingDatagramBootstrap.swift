import NIOCore
import Transport

/// Makes datagram channels (UDP or Unix-domain), as SwiftNIO's `DatagramBootstrap` does, on loops of this module.
///
/// They read `AddressedEnvelope<ByteBuffer>`, and write them; connected ones write plain `ByteBuffer`s too. Not to be used from
/// several threads at once.
public final class RingDatagramBootstrap {
    private let group: any NIOCore.EventLoopGroup
    private var setUp = ChannelSetUp()
    private var subtype: Int32 = 0

    /// Makes channels on the loops of `group` in turn.
    ///
    /// - Precondition: it has loops of this module only.
    public convenience init(group: any NIOCore.EventLoopGroup) {
        guard group.isRingGroup else {
            preconditionFailure("RingDatagramBootstrap needs a RingEventLoopGroup or a RingEventLoop")
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
    }

    /// Called with each new channel before it is registered: adds its handlers.
    public func channelInitializer(
        _ initializer: @escaping @Sendable (any NIOCore.Channel) -> EventLoopFuture<Void>
    ) -> Self {
        setUp.initializer = initializer
        return self
    }

    /// An option of each channel.
    public func channelOption<Option: ChannelOption>(_ option: Option, value: Option.Value) -> Self {
        setUp.options.append(key: option, value: value)
        return self
    }

    /// The protocol of the socket where it is not UDP, such as `IPPROTO_ICMP` (icmp(7)). SwiftNIO has a type of its own for
    /// it, in NIOPosix, whose raw value this is.
    public func protocolSubtype(_ subtype: Int32) -> Self {
        self.subtype = subtype
        return self
    }

    // MARK: Binding

    /// Binds to an address. Its future fails with what socket(2) or bind(2) says.
    public func bind(to address: NIOCore.SocketAddress) -> EventLoopFuture<any NIOCore.Channel> {
        make(.bind(address), ChannelSetUp.nothingMore).map(\.0)
    }

    /// Binds to the first address of `host`; blocks while the name is looked up.
    public func bind(host: String, port: Int) -> EventLoopFuture<any NIOCore.Channel> {
        group.withAddress({ try .makeAddressResolvingHost(host, port: port) }, bind(to:))
    }

    /// Binds to a Unix-domain path.
    ///
    /// - Parameter cleanupExistingSocketFile: remove a socket that is there already; anything else there is an error.
    public func bind(
        unixDomainSocketPath path: String, cleanupExistingSocketFile: Bool = false
    ) -> EventLoopFuture<any NIOCore.Channel> {
        group.withAddress({ try .init(unixDomainSocketPath: path, cleaningUp: cleanupExistingSocketFile) }, bind(to:))
    }

    /// Takes over a datagram socket that is bound already, and perhaps connected; O_NONBLOCK is cleared.
    public func withBoundSocket(_ socket: NIOBSDSocket.Handle) -> EventLoopFuture<any NIOCore.Channel> {
        make(.socket(socket), ChannelSetUp.nothingMore).map(\.0)
    }

    // MARK: Connecting

    /// Connects to an address: what comes from others is not received. Nothing is sent.
    public func connect(to address: NIOCore.SocketAddress) -> EventLoopFuture<any NIOCore.Channel> {
        make(.connect(address), ChannelSetUp.nothingMore).map(\.0)
    }

    /// Connects to the first address of `host`; blocks while the name is looked up.
    public func connect(host: String, port: Int) -> EventLoopFuture<any NIOCore.Channel> {
        group.withAddress({ try .makeAddressResolvingHost(host, port: port) }, connect(to:))
    }

    /// Connects to a Unix-domain path.
    public func connect(unixDomainSocketPath path: String) -> EventLoopFuture<any NIOCore.Channel> {
        group.withAddress({ try .init(unixDomainSocketPath: path) }, connect(to:))
    }

    // MARK: From asynchronous code

    /// Binds to an address; returns what `channelInitializer` has made of the channel.
    public func bind<Output: Sendable>(
        to address: NIOCore.SocketAddress,
        channelInitializer: @escaping @Sendable (any NIOCore.Channel) -> EventLoopFuture<Output>
    ) async throws -> Output {
        try await make(.bind(address), channelInitializer).map(\.1).get()
    }

    /// Binds to the first address of `host`; returns what `channelInitializer` has made of the channel.
    public func bind<Output: Sendable>(
        host: String, port: Int,
        channelInitializer: @escaping @Sendable (any NIOCore.Channel) -> EventLoopFuture<Output>
    ) async throws -> Output {
        try await bind(
            to: .makeAddressResolvingHost(host, port: port), channelInitializer: channelInitializer)
    }

    /// Binds to a Unix-domain path; returns what `channelInitializer` has made of the channel.
    public func bind<Output: Sendable>(
        unixDomainSocketPath path: String, cleanupExistingSocketFile: Bool = false,
        channelInitializer: @escaping @Sendable (any NIOCore.Channel) -> EventLoopFuture<Output>
    ) async throws -> Output {
        let address = try NIOCore.SocketAddress(unixDomainSocketPath: path, cleaningUp: cleanupExistingSocketFile)
        return try await bind(to: address, channelInitializer: channelInitializer)
    }

    /// Takes over a datagram socket that is bound already, whose O_NONBLOCK is cleared; returns what `channelInitializer` has made of the channel.
    public func withBoundSocket<Output: Sendable>(
        _ socket: NIOBSDSocket.Handle,
        channelInitializer: @escaping @Sendable (any NIOCore.Channel) -> EventLoopFuture<Output>
    ) async throws -> Output {
        try await make(.socket(socket), channelInitializer).map(\.1).get()
    }

    /// Connects to an address; returns what `channelInitializer` has made of the channel.
    public func connect<Output: Sendable>(
        to address: NIOCore.SocketAddress,
        channelInitializer: @escaping @Sendable (any NIOCore.Channel) -> EventLoopFuture<Output>
    ) async throws -> Output {
        try await make(.connect(address), channelInitializer).map(\.1).get()
    }

    /// Connects to the first address of `host`; returns what `channelInitializer` has made of the channel.
    public func connect<Output: Sendable>(
        host: String, port: Int,
        channelInitializer: @escaping @Sendable (any NIOCore.Channel) -> EventLoopFuture<Output>
    ) async throws -> Output {
        try await connect(
            to: .makeAddressResolvingHost(host, port: port), channelInitializer: channelInitializer)
    }

    /// Connects to a Unix-domain path; returns what `channelInitializer` has made of the channel.
    public func connect<Output: Sendable>(
        unixDomainSocketPath path: String,
        channelInitializer: @escaping @Sendable (any NIOCore.Channel) -> EventLoopFuture<Output>
    ) async throws -> Output {
        try await connect(to: .init(unixDomainSocketPath: path), channelInitializer: channelInitializer)
    }

    // MARK: The one way

    private enum Origin: Sendable {
        case bind(NIOCore.SocketAddress)
        case connect(NIOCore.SocketAddress)
        case socket(Int32)

        func open(_ subtype: Int32) throws(CoreError) -> Int32 {
            switch self {
            case .bind(let address), .connect(let address):
                return try CoreSocket.datagram(
                    family: CoreAddress(address).family, protocol: subtype)
            case .socket(let fd):
                CoreSocket.setBlocking(fd)
                return fd
            }
        }
    }

    private func make<Output: Sendable>(
        _ origin: Origin, _ initialize: @escaping @Sendable (any NIOCore.Channel) -> EventLoopFuture<Output>
    ) -> EventLoopFuture<(any NIOCore.Channel, Output)> {
        let loop = group.nextRingLoop()
        let channel: RingDatagramChannel
        do throws(CoreError) {
            channel = RingDatagramChannel(loop, fd: try origin.open(subtype))
        } catch {
            return loop.makeFailedFuture(IOError(error))
        }
        let setUp = setUp
        return channel.onLoop {
            setUp.apply(to: channel).flatMap { initialize(channel) }.flatMap { output in
                let isReady: EventLoopFuture<Void>
                switch origin {
                case .bind(let address): isReady = channel.register { channel.bind(to: address) }
                case .connect(let address): isReady = channel.register { channel.connect(to: address) }
                case .socket: isReady = channel.registerConfigured()
                }
                return isReady.map { (channel, output) }
            }
        }
    }
}
