import NIOCore
import RingmasterNIO
import Testing
import Transport

/// Runs `body` with a group of `count` loops on a transport, and shuts it down.
///
/// - Parameter receiveBufferSize: bytes of each receive buffer; nil for the default.
func withRingGroup<Result>(
    _ transport: TransportKind, count: Int = 1, receiveBufferSize: UInt32? = nil,
    _ body: (RingEventLoopGroup) async throws -> Result
) async throws -> Result {
    let preference: TransportPreference = transport == .epoll ? .epoll : .ioUring
    var configuration = try preference.decide(loops: count).configuration
    if let receiveBufferSize { configuration.receiveBuffers.size = receiveBufferSize }
    let group = try RingEventLoopGroup(numberOfThreads: count, configuration: configuration)
    let result: Swift.Result<Result, any Error>
    do {
        result = .success(try await body(group))
    } catch {
        result = .failure(error)
    }
    try await group.shutdownGracefully()
    return try result.get()
}
