import HTTPTypes
import Hummingbird

/// Sends `file.br` or `file.gz` in place of `file` where it lies beside it and the client takes it.
struct Precompressed<Context: RequestContext>: RouterMiddleware {
    let root: SiteRoot

    /// Encodings by preference, and what their files' names end with.
    static var encodings: [(name: String, suffix: String)] { [("br", ".br"), ("gzip", ".gz")] }

    func handle(
        _ request: Request, context: Context, next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        guard let variant = try variant(request) else { return try await next(request, context) }
        guard let encoding = variant.encoding else {
            // There is one that the client does not take: caches must not give this answer to everybody.
            var response = try await next(request, context)
            response.headers[.vary] = "Accept-Encoding"
            return response
        }
        var response = try await next(request.changed { $0.path = variant.path }, context)
        guard [.ok, .partialContent, .notModified, .rangeNotSatisfiable].contains(response.status) else {
            return try await next(request, context)
        }
        response.headers[.vary] = "Accept-Encoding"
        // The client's range is one of the variant.
        guard response.status != .rangeNotSatisfiable else { return response }
        response.headers[.contentEncoding] = encoding
        response.headers[.contentType] = variant.mediaType?.description
        return response
    }

    private struct Variant {
        var path: String
        /// Nil: there are others, but none that the client takes.
        var encoding: String?
        var mediaType: MediaType?
    }

    /// Nil when the file has no variants.
    private func variant(_ request: Request) throws -> Variant? {
        guard var decoded = SitePath.decoded(request.uri.path) else { return nil }
        let index = decoded.hasSuffix("/") ? "index.html" : ""
        decoded += index
        let accepted = AcceptedEncodings(request.headers[values: .acceptEncoding])
        var exists = false
        for encoding in Self.encodings {
            guard let file = try root.file(decoded + encoding.suffix), !file.isDirectory else { continue }
            exists = true
            guard accepted.contains(encoding.name) else { continue }
            let query = request.uri.query.map { "?\($0)" } ?? ""
            let mediaType = SitePath.fileExtension(decoded).flatMap { MediaTypes.of($0) }
            return Variant(
                path: request.uri.path + index + encoding.suffix + query, encoding: encoding.name, mediaType: mediaType)
        }
        return exists ? Variant(path: "", encoding: nil, mediaType: nil) : nil
    }
}

/// The encodings that an Accept-Encoding header allows (RFC 9110, 12.5.3).
struct AcceptedEncodings {
    private var qualities: [String: Double] = [:]

    init(_ values: [String]) {
        for item in values.joined(separator: ",").split(separator: ",") {
            let parts = item.split(separator: ";").map { $0.filter { $0 != " " && $0 != "\t" }.lowercased() }
            guard let name = parts.first else { continue }
            let quality = parts.dropFirst().first { $0.hasPrefix("q=") }.flatMap { Double($0.dropFirst(2)) }
            qualities[name] = quality ?? 1
        }
    }

    func contains(_ name: String) -> Bool { (qualities[name] ?? qualities["*"] ?? 0) > 0 }
}
