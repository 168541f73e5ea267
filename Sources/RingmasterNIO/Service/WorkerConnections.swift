import NIOCore

/// The connections that a worker is given, for a server that wants to listen: what `RingServerBootstrap.bind` is for an
/// address, ``listen(serverChannelInitializer:childChannelInitializer:)`` is for them.
public struct WorkerConnections: Sendable {
    /// The worker's loop, which has the listening channel and every connection.
    public let loop: RingEventLoop
    private let service: NIOService

    /// What was to listen did not.
    struct NobodyListens: Error, CustomStringConvertible {
        let description = "nobody listens to the worker's connections"
    }

    init(of service: NIOService, on loop: RingEventLoop) {
        self.service = service
        self.loop = loop
    }

    /// A listening channel without a socket. What comes of each connection by `childChannelInitializer` is an element of
    /// the inbound sequence. Once; any thread.
    ///
    /// - Parameter serverChannelInitializer: called with the listening channel before it is registered. Its inbound reads
    ///   are the channels of connections.
    public func listen<Output: Sendable>(
        serverChannelInitializer: (@Sendable (any Channel) -> EventLoopFuture<Void>)? = nil,
        childChannelInitializer: @escaping @Sendable (any Channel) -> EventLoopFuture<Output>
    ) async throws -> NIOAsyncChannel<Output, Never> {
        try await loop.flatSubmit {
            service.listen(
                on: loop, ChannelSetUp(initializer: serverChannelInitializer), initializer: childChannelInitializer
            ) { try NIOAsyncChannel<Output, Never>(wrappingChannelSynchronously: $0) }
        }.get()
    }
}
