import Glibc
import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import Transport

/// A line for each answered request: client, method, path, status, bytes promised, microseconds until the answer began.
public struct RequestLog: Sendable {
    let logger: Logger

    /// Writes to `logger` at level info.
    public init(logger: Logger) {
        self.logger = logger
    }

    /// A line for what was refused before it was a request.
    public func writeRefused(status: Int, client: NIOCore.SocketAddress?) {
        logger.info(
            "request refused", metadata: ["status": .stringConvertible(status), "client": "\(Self.text(client))"])
    }

    func write(
        client: NIOCore.SocketAddress?, method: String, path: String, status: Int, bytes: Int?,
        since start: MonotonicTime
    ) {
        let microseconds = (MonotonicTime.now - start).wholeNanoseconds / 1000
        var metadata: Logger.Metadata = [
            "client": "\(Self.text(client))", "method": "\(method)", "path": "\(path)",
            "status": .stringConvertible(status), "us": .stringConvertible(microseconds),
        ]
        if let bytes { metadata["bytes"] = .stringConvertible(bytes) }
        logger.info("request", metadata: metadata)
    }

    /// As the program writes addresses elsewhere: `127.0.0.1:80`, `[::1]:80`, `unix:/path`, `unix:` for one without a name.
    static func text(_ client: NIOCore.SocketAddress?) -> String {
        guard let client else { return "-" }
        if let path = client.pathname { return "unix:\(path)" }
        let address = client.withSockAddr { Transport.SocketAddress($0, length: socklen_t($1)) }
        return address.map { "\($0)" } ?? "-"
    }
}

/// Logs the requests that the router answers.
struct AccessLog<Context: RemoteAddressRequestContext>: RouterMiddleware {
    let log: RequestLog

    func handle(
        _ request: Request, context: Context, next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        let start = MonotonicTime.now
        let response = try await next(request, context)
        log.write(
            client: context.remoteAddress, method: request.method.rawValue, path: request.uri.string,
            status: response.status.code,
            bytes: response.headers[.contentLength].flatMap { Int($0) } ?? response.body.contentLength, since: start)
        return response
    }
}
