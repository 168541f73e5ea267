import HTTPTypes
import Hummingbird
import Logging
import Transport

/// The outermost of all: what is no question about a file is refused, and what goes wrong is told in words.
struct RequestRules<Context: RequestContext>: RouterMiddleware {
    /// Bytes of a request's body at most. They are read and dropped: no file is answered differently for them.
    let bodyMax: Int
    /// Told of what went wrong here.
    let logger: Logger

    func handle(
        _ request: Request, context: Context, next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        guard request.method == .get || request.method == .head else {
            return Self.refusal(.methodNotAllowed, [.allow: "GET, HEAD", .connection: "close"])
        }
        if let length = request.headers[.contentLength], (Int(length) ?? .max) > bodyMax {
            return Self.refusal(.contentTooLarge, [.connection: "close"])
        }
        do {
            let response = try await next(request, context)
            return response.status == .notFound ? Self.refusal(.notFound) : response
        } catch let error as any HTTPResponseError {
            return Self.refusal(error.status, (error as? HTTPError)?.headers ?? [:])
        } catch {
            let status: HTTPResponse.Status = error is SystemError ? .serviceUnavailable : .internalServerError
            logger.error(
                "a request could not be answered",
                metadata: [
                    "path": "\(request.uri.string)", "status": .stringConvertible(status.code), "error": "\(error)",
                ])
            return Self.refusal(status)
        }
    }

    static func refusal(_ status: HTTPResponse.Status, _ headers: HTTPFields = [:]) -> Response {
        var headers = headers
        headers[.contentType] = "text/plain; charset=utf-8"
        return Response(
            status: status, headers: headers, body: .init(byteBuffer: .init(string: "\(status)\n")))
    }
}
