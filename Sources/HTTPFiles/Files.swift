import HTTPTypes
import Hummingbird

/// Hummingbird's file middleware, with an entity tag that may be relied on, and If-None-Match as RFC 9110, 13.1.2 has it.
struct Files<Context: RequestContext>: RouterMiddleware {
    let root: SiteRoot

    func handle(
        _ request: Request, context: Context, next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        let known = request.headers[values: .ifNoneMatch]
        guard !known.isEmpty else { return try await file(request, context, next) }
        // With it If-Modified-Since does not count.
        let request = request.changed {
            $0.headerFields[.ifNoneMatch] = nil
            $0.headerFields[.ifModifiedSince] = nil
        }
        let head = try await file(request.changed { $0.method = .head }, context, next)
        guard head.status == .ok, EntityTag.contains(known, head.headers[.eTag]) else {
            return try await file(request, context, next)
        }
        return Response(status: .notModified, headers: head.headers)
    }

    private func file(
        _ request: Request, _ context: Context, _ next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        let files = SiteFiles(root: root)
        let middleware = FileMiddleware<Context, SiteFiles>(fileProvider: files, searchForIndexHtml: true)
            .withAdditionalMediaTypes(forFileExtensions: MediaTypes.own)
        var response = try await middleware.handle(request, context: context, next: next)
        // Its own is made of the time in a floating-point number, and of the size.
        if let file = files.lastFile, response.headers[.eTag] != nil {
            response.headers[.eTag] = file.tag.description
        }
        return response
    }
}
