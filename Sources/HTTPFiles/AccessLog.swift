import HTTPTypes
import Hummingbird
import Logging
import Transport

/// A line for each answered request: client, method, path, status, bytes promised, microseconds until the answer began.
struct AccessLog<Context: RemoteAddressRequestContext>: RouterMiddleware {
    let logger: Logger

    func handle(
        _ request: Request, context: Context, next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        let start = MonotonicTime.now
        let response = try await next(request, context)
        let microseconds = (MonotonicTime.now - start).wholeNanoseconds / 1000
        logger.info(
            "request",
            metadata: [
                "client": "\(context.remoteAddress.map { "\($0)" } ?? "-")",
                "method": "\(request.method.rawValue)", "path": "\(request.uri.string)",
                "status": "\(response.status.code)",
                "bytes": "\(response.headers[.contentLength] ?? response.body.contentLength.map(String.init) ?? "-")",
                "us": "\(microseconds)",
            ])
        return response
    }
}
