import Foundation
import HTTPTypes
import Hummingbird
import NIOCore
import Testing

@testable import HTTPFiles

@Suite("a website's answers")
struct WebsiteTests {
    @Test("a file comes whole, with its type, its length and its validators")
    func file() async throws {
        let site = try Site(["a/page.html": "<p>hello</p>"])
        let answer = try await site.get("/a/page.html")
        #expect(answer.status == .ok)
        #expect(answer.body == "<p>hello</p>")
        #expect(answer.headers[.contentType]?.hasPrefix("text/html") == true)
        #expect(answer.headers[.contentLength] == "12")
        #expect(answer.headers[.eTag] != nil)
        #expect(answer.headers[.lastModified] != nil)
    }

    @Test(
        "Markdown is told as text in UTF-8, plain or compressed", arguments: [HTTPFields(), [.acceptEncoding: "gzip"]])
    func markdown(headers: HTTPFields) async throws {
        let site = try Site(["README.md": "# ü", "README.md.gz": "zipped"])
        let answer = try await site.get("/README.md", headers)
        #expect(answer.body == (headers.isEmpty ? "# ü" : "zipped"))
        #expect(answer.headers[.contentType] == "text/markdown; charset=utf-8")
    }

    @Test("a file of many pieces comes whole and in order")
    func largeFile() async throws {
        let text = (0..<60_000).map { "\($0) " }.joined()
        #expect(text.utf8.count > 2 * SiteFiles.pieceMax)
        let site = try Site(["large.txt": text])
        #expect(try await site.get("/large.txt").body == text)
    }

    @Test("HEAD answers with the length and without the file")
    func head() async throws {
        let answer = try await Site(["page": "hello"]).get("/page", method: .head)
        #expect(answer.status == .ok)
        #expect(answer.headers[.contentLength] == "5")
        #expect(answer.body.isEmpty)
    }

    @Test("what is not there is 404, in words")
    func missing() async throws {
        let answer = try await Site([:]).get("/nothing")
        #expect(answer.status == .notFound)
        #expect(answer.body.hasPrefix("404"))
    }

    @Test("an empty file is an empty answer")
    func empty() async throws {
        let answer = try await Site(["empty": ""]).get("/empty")
        #expect(answer.status == .ok)
        #expect(answer.body.isEmpty)
    }

    @Test("a client that has the file is told so, until the file is replaced by one of the same size and second")
    func conditional() async throws {
        let site = try Site(["page": "one"])
        let first = try await site.get("/page")
        let tag = try #require(first.headers[.eTag])
        #expect(try await site.get("/page", [.ifNoneMatch: tag]).status == .notModified)
        let date = try #require(first.headers[.lastModified])
        #expect(try await site.get("/page", [.ifModifiedSince: date]).status == .notModified)
        try site.write("page", "two")
        let second = try await site.get("/page", [.ifNoneMatch: tag])
        #expect(second.status == .ok)
        #expect(second.body == "two")
    }

    @Test("If-None-Match: a list of tags, weak or not, in one field or several, or any")
    func tags() async throws {
        let site = try Site(["page": "hello"])
        let tag = try #require(try await site.get("/page").headers[.eTag]).replacing("W/", with: "")
        for (value, status) in [
            (tag, 304), ("W/" + tag, 304), ("\"a,b\", W/\"c\" , \(tag)", 304), ("*", 304), (" * ", 304),
            ("\"a\",W/\"b\"", 200),
            (tag.replacing("\"", with: ""), 200), ("", 200),
        ] {
            let answer = try await site.get("/page", [.ifNoneMatch: value])
            #expect(answer.status.code == status, "\(value)")
            #expect(answer.headers[.eTag]?.hasSuffix(tag) == true)
            #expect(answer.body == (status == 200 ? "hello" : ""))
        }
        var fields = HTTPFields()
        fields.append(HTTPField(name: .ifNoneMatch, value: "\"a\""))
        fields.append(HTTPField(name: .ifNoneMatch, value: tag))
        #expect(try await site.get("/page", fields).status == .notModified)
        #expect(try await site.get("/none", [.ifNoneMatch: "*"]).status == .notFound)
        // With it, the date does not count.
        let date = try #require(try await site.get("/page").headers[.lastModified])
        #expect(try await site.get("/page", [.ifNoneMatch: "\"a\"", .ifModifiedSince: date]).status == .ok)
    }

    @Test("other methods are refused, and say which are not")
    func methods() async throws {
        let site = try Site(["page": "hello"])
        for method in [HTTPRequest.Method.post, .put, .delete, .options] {
            let answer = try await site.get("/page", method: method)
            #expect(answer.status == .methodNotAllowed)
            #expect(answer.headers[.allow] == "GET, HEAD")
        }
    }

    @Test("a body that is announced too large, or makes no sense, is refused")
    func oversized() async throws {
        let site = try Site(["page": "hello"], bodyMax: 10)
        #expect(try await site.get("/page", [.contentLength: "10"]).status == .ok)
        #expect(try await site.get("/page", [.contentLength: "11"]).status == .contentTooLarge)
        #expect(try await site.get("/page", [.contentLength: "99999999999999999999"]).status == .contentTooLarge)
    }

    // MARK: Directories

    @Test("a directory answers with its index, and without its slash with a redirect that keeps the query")
    func directory() async throws {
        let site = try Site(["dir with space/index.html": "index"])
        #expect(try await site.get("/dir%20with%20space/").body == "index")
        let redirect = try await site.get("/dir%20with%20space?a=b")
        #expect(redirect.status == .movedPermanently)
        #expect(redirect.headers[.location] == "/dir%20with%20space/?a=b")
    }

    @Test("a redirect never names another host")
    func redirectStays() async throws {
        let site = try Site(["evil.example/file": ""])
        #expect(try await site.get("//evil.example").headers[.location] == "/evil.example/")
    }

    @Test("a directory without an index is 404, but for the root, which welcomes")
    func withoutIndex() async throws {
        let site = try Site(["dir/file": ""])
        #expect(try await site.get("/dir/").status == .notFound)
        let welcome = try await site.get("/")
        #expect(welcome.status == .ok)
        #expect(welcome.body.contains(site.root))
    }

    @Test("a listing has directories first, escapes names, and leaves out what is hidden")
    func listing() async throws {
        let site = try Site(["b<i>.txt": "", "a:b": "", ".hidden": "", "z/file": ""], lists: true)
        let body = try await site.get("/").body
        let links = body.split(separator: "\n").filter { $0.hasPrefix("<li>") }
        #expect(
            links == [
                "<li><a href=\"./z/\">z/</a></li>", "<li><a href=\"./a%3Ab\">a:b</a></li>",
                "<li><a href=\"./b%3Ci%3E.txt\">b&lt;i&gt;.txt</a></li>",
            ])
        #expect(try await site.get("/z/").body.contains("<a href=\"../\">"))
    }

    @Test("a listing reads so many entries, hidden ones too, and says that there are more")
    func boundedListing() throws {
        let site = try Site(["a": "", "b": "", "c": "", ".hidden": ""])
        let directory = try #require(try SiteRoot(site.root).file("/"))
        func count(_ max: Int) throws -> Int {
            let html = try Directories<SiteContext>.listing(directory, "/", entriesMax: max)
            #expect(html.contains("and more") == (max < 4))
            return html.split(separator: "\n").filter { $0.hasPrefix("<li>") }.count
        }
        #expect([2, 3].contains(try count(3)))
        #expect(try count(4) == 3)
    }

    @Test("requests for which no descriptors are left are answered with 503, and those with files go on")
    func openFiles() async throws {
        let site = try Site(["a": "a", "dir/index.html": "index"])
        let root = try SiteRoot(site.root, openFiles: OpenFiles(max: 2))
        let router = Router(context: SiteContext.self)
        router.add(middleware: RequestRules(bodyMax: 0, logger: Site.logger))
        router.add(middleware: Directories(root: root, lists: true))
        router.add(middleware: Files(root: root))
        let responder = router.buildResponder()
        func status(_ path: String) async throws -> Int {
            let head = HTTPRequest(method: .get, scheme: nil, authority: nil, path: path)
            return try await responder.respond(
                to: Request(head: head, body: .init(buffer: ByteBuffer())), context: Site.context()
            ).status.code
        }
        var held = [try #require(try root.file("/a"))]
        #expect(try await status("/a") == 200)
        // The directory, and what is in it.
        #expect(try await status("/dir/") == 503)
        held.append(try #require(try root.file("/a")))
        #expect(try await status("/a") == 503)
        #expect(try await status("/none") == 404)
        held.removeAll()
        #expect(try await status("/dir/") == 200)
    }

    // MARK: Paths

    @Test(
        "nothing outside the root is served",
        arguments: [
            "/../secret", "/%2e%2e/secret", "/..%2fsecret", "/a/../../secret", "/link", "/linkdir/secret", "/%00",
            "/a%zz",
            "/%ff", "/.hidden", "/.git/config", "/fifo",
        ])
    func outside(path: String) async throws {
        let outside = try Site(["secret": "secret"])
        let site = try Site([".hidden": "secret", ".git/config": "secret", "a/file": ""])
        try site.link("link", to: "\(outside.root)/secret")
        try site.link("linkdir", to: outside.root)
        mkfifo(site.path("fifo"), 0o644)
        let answer = try await site.get(path)
        #expect([.notFound, .badRequest].contains(answer.status))
        #expect(!answer.body.contains("secret\n") && answer.body != "secret")
    }

    @Test("a link within the root is followed, .well-known is served, and names are decoded")
    func inside() async throws {
        let site = try Site([".well-known/a": "known", "dir/a b": "spaced", "ü": "utf"])
        try site.link("link", to: "dir/a b")
        #expect(try await site.get("/link").body == "spaced")
        #expect(try await site.get("/dir/a%20b").body == "spaced")
        #expect(try await site.get("/.well-known/a").body == "known")
        #expect(try await site.get("/%C3%BC").body == "utf")
    }
}
