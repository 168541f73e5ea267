import Glibc
import HTTPTypes
import Hummingbird
import NIOPosix
import Transport

/// Directories: a redirect to the name with a slash, a list of what is in it if that is wanted, and a page of welcome where
/// the root has no index.
struct Directories<Context: RequestContext>: RouterMiddleware {
    let root: SiteRoot
    let lists: Bool

    func handle(
        _ request: Request, context: Context, next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        guard let path = SitePath.decoded(request.uri.path), try root.file(path)?.isDirectory == true else {
            return try await next(request, context)
        }
        guard path.hasSuffix("/") else {
            let query = request.uri.query.map { "?\($0)" } ?? ""
            // One slash at the start: two would name another host.
            let location =
                "/" + SitePath.encoded(String(Substring(path.utf8.drop { $0 == UInt8(ascii: "/") }))) + "/" + query
            return Response(status: .movedPermanently, headers: [.location: location])
        }
        if try root.file(path + "index.html") != nil { return try await next(request, context) }
        if lists, let directory = try root.file(path) {
            // A disk must not hold up the loop, nor must the sorting of many names.
            return Self.page(try await NIOThreadPool.singleton.runIfActive { try Self.listing(directory, path) })
        }
        return path.allSatisfy { $0 == "/" } ? Self.page(Self.welcome(root.path)) : try await next(request, context)
    }

    private static func page(_ html: String) -> Response {
        Response(
            status: .ok, headers: [.contentType: "text/html; charset=utf-8", .cacheControl: "no-cache"],
            body: .init(byteBuffer: .init(string: html)))
    }

    private static func welcome(_ root: String) -> String {
        """
        <!doctype html>
        <meta charset="utf-8"><title>Ringmaster</title>
        <h1>Ringmaster serves this directory.</h1>
        <p>There is no index.html in \(escaped(root)) yet: put one there, name another directory with --root, or have directories
        listed with --listing.</p>

        """
    }

    // MARK: Listing

    /// Entries of a directory that are read at most, hidden ones too.
    private static var entriesMax: Int { 10_000 }

    static func listing(_ directory: SiteFile, _ path: String, entriesMax: Int = entriesMax) throws -> String {
        let (entries, isWhole) = try entries(directory, max: entriesMax)
        let names = entries.filter { SiteRoot.isVisible($0.name) }
            .sorted { ($0.isDirectory ? 0 : 1, $0.name) < ($1.isDirectory ? 0 : 1, $1.name) }
        var html =
            "<!doctype html>\n<meta charset=\"utf-8\"><title>\(escaped(path))</title>\n<h1>\(escaped(path))</h1>\n<ul>\n"
        if path != "/" { html += "<li><a href=\"../\">../</a></li>\n" }
        for entry in names {
            let name = entry.isDirectory ? entry.name + "/" : entry.name
            // Behind "./", a name with a colon is no scheme.
            html += "<li><a href=\"./\(SitePath.encoded(name))\">\(escaped(name))</a></li>\n"
        }
        html += "</ul>\n"
        return isWhole ? html : html + "<p>and more</p>\n"
    }

    private static func entries(
        _ directory: SiteFile, max: Int
    ) throws(SystemError) -> (entries: [(name: String, isDirectory: Bool)], isWhole: Bool) {
        // readdir(3) has a position of its own, which others that hold the descriptor must not see.
        let fd = openat(directory.descriptor.fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard fd >= 0 else { throw SystemError("openat", code: errno) }
        guard let stream = fdopendir(fd) else {
            let code = errno
            close(fd)
            throw SystemError("fdopendir", code: code)
        }
        defer { closedir(stream) }
        var entries: [(String, Bool)] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name == "." || name == ".." { continue }
            guard entries.count < max else { return (entries, false) }
            entries.append((name, entry.pointee.d_type == UInt8(DT_DIR)))
        }
        return (entries, true)
    }

    private static func escaped(_ text: String) -> String {
        text.reduce(into: "") { html, character in
            switch character {
            case "&": html += "&amp;"
            case "<": html += "&lt;"
            case ">": html += "&gt;"
            case "\"": html += "&quot;"
            case "'": html += "&#39;"
            default: html.append(character)
            }
        }
    }
}
