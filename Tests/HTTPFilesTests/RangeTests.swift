import HTTPTypes
import Hummingbird
import NIOCore
import Synchronization
import Testing

@testable import HTTPFiles

@Suite("ranges of a file")
struct RangeTests {
    private let text = "0123456789"

    @Test(
        "one range is answered with those bytes",
        arguments: [
            ("bytes=0-0", "0", "bytes 0-0/10"), ("bytes=2-4", "234", "bytes 2-4/10"),
            ("bytes=7-", "789", "bytes 7-9/10"),
            ("bytes=-3", "789", "bytes 7-9/10"), ("bytes=-99", "0123456789", "bytes 0-9/10"),
            ("bytes=8-99", "89", "bytes 8-9/10"), ("BYTES=1-1", "1", "bytes 1-1/10"),
        ])
    func one(range: String, body: String, contentRange: String) async throws {
        let answer = try await Site(["file": text]).get("/file", [.range: range])
        #expect(answer.status == .partialContent)
        #expect(answer.body == body)
        #expect(answer.headers[.contentRange] == contentRange)
        #expect(answer.headers[.contentLength] == "\(body.count)")
    }

    @Test("a range beyond the end is 416 with the length", arguments: ["bytes=10-", "bytes=10-20", "bytes=-0"])
    func beyond(range: String) async throws {
        let answer = try await Site(["file": text]).get("/file", [.range: range])
        #expect(answer.status == .rangeNotSatisfiable)
        #expect(answer.headers[.contentRange] == "bytes */10")
    }

    @Test("any range of an empty file is 416")
    func emptyFile() async throws {
        #expect(try await Site(["file": ""]).get("/file", [.range: "bytes=0-"]).status == .rangeNotSatisfiable)
    }

    @Test(
        "what is no single range of bytes is ignored",
        arguments: ["lines=1-2", "bytes=4-2", "bytes=", "bytes=-", "bytes=a-b", "bytes=0-1,3-4", "bytes=+1-2", "5"])
    func ignored(range: String) async throws {
        let answer = try await Site(["file": text]).get("/file", [.range: range])
        #expect(answer.status == .ok)
        #expect(answer.body == text)
    }

    @Test(
        "If-Range: the range when the file is the same, all of it when it is not or nobody can know",
        .timeLimit(.minutes(1)))
    func ifRange() async throws {
        let site = try Site(["file": text])
        let first = try await site.get("/file")
        var tag = try #require(first.headers[.eTag])
        // The file was changed just now, and might be again without a trace.
        #expect(tag.hasPrefix("W/"))
        #expect(try await site.get("/file", [.range: "bytes=-1", .ifRange: tag]).status == .ok)
        while tag.hasPrefix("W/") {
            try await Task.sleep(for: .milliseconds(50))
            tag = try #require(try await site.get("/file").headers[.eTag])
        }
        let part = try await site.get("/file", [.range: "bytes=-1", .ifRange: tag])
        #expect(part.status == .partialContent && part.body == "9" && part.headers[.eTag] == tag)
        let date = try #require(first.headers[.lastModified])
        for other in ["\"other\"", "W/" + tag, date] {
            let whole = try await site.get("/file", [.range: "bytes=-1", .ifRange: other])
            #expect(whole.status == .ok && whole.body == text, "\(other)")
        }
    }

    @Test("a file that is replaced after the range was chosen is sent whole")
    func replacedMeanwhile() async throws {
        let before = Response(status: .ok, headers: [.eTag: "1", .contentLength: "10"])
        let parts = Mutex(["part": 0, "whole": 0])
        let request = Request(
            head: HTTPRequest(
                method: .get, scheme: nil, authority: nil, path: "/", headerFields: [.range: "bytes=-3"]),
            body: .init(buffer: ByteBuffer()))
        let answer = try await Ranges<SiteContext>().handle(request, context: Site.context()) { request, _ in
            if request.method == .head { return before }
            let isPart = request.headers[.range] != nil
            parts.withLock { $0[isPart ? "part" : "whole"]! += 1 }
            return Response(status: isPart ? .partialContent : .ok, headers: [.eTag: "2"])
        }
        #expect(answer.status == .ok && answer.headers[.eTag] == "2")
        #expect(parts.withLock { $0 } == ["part": 1, "whole": 1])
    }

    @Test("a range of many pieces is byte-exact")
    func large() async throws {
        let text = (0..<60_000).map { "\($0) " }.joined()
        let site = try Site(["large": text])
        let range = 1000..<text.utf8.count - 1000
        let answer = try await site.get("/large", [.range: "bytes=\(range.lowerBound)-\(range.upperBound - 1)"])
        #expect(answer.body == String(text.dropFirst(1000).dropLast(1000)))
    }
}

@Suite("precompressed variants")
struct PrecompressedTests {
    @Test(
        "the best variant that the client takes is sent, with the type of the file",
        arguments: [
            ("gzip, br", "br", "brotli"), ("gzip", "gzip", "zipped"), ("br;q=0, gzip;q=0.5", "gzip", "zipped"),
            ("*", "br", "brotli"),
        ])
    func variant(accepted: String, encoding: String, body: String) async throws {
        let site = try Site(["a.css": "plain", "a.css.gz": "zipped", "a.css.br": "brotli"])
        let answer = try await site.get("/a.css?v=1", [.acceptEncoding: accepted])
        #expect(answer.status == .ok)
        #expect(answer.body == body)
        #expect(answer.headers[.contentEncoding] == encoding)
        #expect(answer.headers[.vary] == "Accept-Encoding")
        #expect(answer.headers[.contentType]?.hasPrefix("text/css") == true)
    }

    @Test(
        "without a variant that it takes the client gets the file, and caches are warned",
        arguments: ["", "identity", "gzip;q=0"])
    func none(accepted: String) async throws {
        let site = try Site(["a.css": "plain", "a.css.gz": "zipped"])
        let answer = try await site.get("/a.css", accepted.isEmpty ? [:] : [.acceptEncoding: accepted])
        #expect(answer.body == "plain")
        #expect(answer.headers[.contentEncoding] == nil)
        #expect(answer.headers[.vary] == "Accept-Encoding")
    }

    @Test("a variant answers conditions and ranges as itself")
    func conditions() async throws {
        let site = try Site(["a.css": "plain", "a.css.gz": "zipped"])
        let gzip: HTTPFields = [.acceptEncoding: "gzip"]
        let tag = try #require(try await site.get("/a.css", gzip).headers[.eTag])
        #expect(try await site.get("/a.css").headers[.eTag] != tag)
        #expect(try await site.get("/a.css", [.acceptEncoding: "gzip", .ifNoneMatch: tag]).status == .notModified)
        #expect(try await site.get("/a.css", [.acceptEncoding: "gzip", .range: "bytes=-3"]).body == "ped")
    }

    @Test("a range beyond the end of a variant is not one of the file")
    func beyondVariant() async throws {
        let site = try Site(["a.css": "plain and longer", "a.css.gz": "zipped"])
        let answer = try await site.get("/a.css", [.acceptEncoding: "gzip", .range: "bytes=6-"])
        #expect(answer.status == .rangeNotSatisfiable)
        #expect(answer.headers[.contentRange] == "bytes */6")
        #expect(answer.headers[.vary] == "Accept-Encoding")
    }

    @Test("a directory's index has variants as any file", arguments: ["/", "/dir/"])
    func index(path: String) async throws {
        let site = try Site([
            "index.html": "plain", "index.html.br": "brotli", "dir/index.html": "plain", "dir/index.html.br": "brotli",
        ])
        let answer = try await site.get(path, [.acceptEncoding: "br"])
        #expect(answer.body == "brotli")
        #expect(answer.headers[.contentEncoding] == "br")
        #expect(answer.headers[.contentType]?.hasPrefix("text/html") == true)
        let plain = try await site.get(path)
        #expect(plain.body == "plain" && plain.headers[.vary] == "Accept-Encoding")
    }
}
