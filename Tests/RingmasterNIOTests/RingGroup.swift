import NIOCore
import RingmasterNIO
import Testing
import Transport

/// Runs `body` with a group of `count` loops on a transport, and shuts it down.
func withRingGroup<Result>(
    _ transport: TransportKind, count: Int = 1, _ body: (RingEventLoopGroup) async throws -> Result
) async throws -> Result {
    let group = try RingEventLoopGroup(
        numberOfThreads: count, transport: transport == .epoll ? .epoll : .ioUring)
    let result: Swift.Result<Result, any Error>
    do {
        result = .success(try await body(group))
    } catch {
        result = .failure(error)
    }
    try await group.shutdownGracefully()
    return try result.get()
}
