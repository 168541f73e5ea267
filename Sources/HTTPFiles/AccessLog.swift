import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import Transport

/// A line for each answered request: client, method, path, status, bytes promised, microseconds until the answer began.
struct RequestLog {
    let logger: Logger

    func write(
        client: NIOCore.SocketAddress?, method: String, path: String, status: Int, bytes: String?,
        since start: MonotonicTime
    ) {
        let microseconds = (MonotonicTime.now - start).wholeNanoseconds / 1000
        logger.info(
            "request",
            metadata: [
                "client": "\(client.map { "\($0)" } ?? "-")", "method": "\(method)", "path": "\(path)",
                "status": "\(status)", "bytes": "\(bytes ?? "-")", "us": "\(microseconds)",
            ])
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
            bytes: response.headers[.contentLength] ?? response.body.contentLength.map(String.init), since: start)
        return response
    }
}
