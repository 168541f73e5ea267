import Foundation
import HTTPTypes
import NIOCore
import NIOEmbedded
import NIOHTTP1
import Testing

@testable import HTTPFiles

@Suite("files that are answered at once")
struct PlainFilesTests {
    private let site: Site
    private let files: PlainFiles
    private let channel = NIOAsyncTestingChannel()

    init() throws {
        site = try Site([
            "a.txt": "hello", "empty.css": "", "noextension": "x", "index.html": "<p>", "dir/index.html": "<q>",
            "dir.d/a.tar.gz": "z", "both.js": "both", "both.js.gz": "gzip", ".hidden": "no", "UPPER.TXT": "U",
            ".well-known/x.json": "{}", "folder/index.html/x": "a directory of that name",
            "middle": String(repeating: "m", count: PlainFiles.copiedMax),
            "large": String(repeating: "0123456789", count: 30_000), "notes.md": "# notes",
        ])
        try site.link("link.txt", to: "a.txt")
        try site.link("out.txt", to: "/etc/hostname")
        files = PlainFiles(root: try SiteRoot(site.root), log: nil)
    }

    private func answer(
        _ uri: String, _ headers: HTTPHeaders = [:], method: HTTPMethod = .GET
    ) throws -> (status: Int, headers: [String], body: String)? {
        let head = HTTPRequestHead(version: .http1_1, method: method, uri: uri, headers: headers)
        guard let answer = files.answer(head, channel) else { return nil }
        defer { answer.whenSent?() }
        let body =
            switch answer.body {
            case nil: ""
            case .byteBuffer(let buffer): String(buffer: buffer)
            case .fileRegion(let region): try text(region)
            }
        return (Int(answer.head.status.code), answer.head.headers.map { "\($0): \($1)" }, body)
    }

    private func text(_ region: FileRegion) throws -> String {
        try region.fileHandle.withUnsafeFileDescriptor { fd in
            var bytes = [UInt8](repeating: 0, count: region.readableBytes)
            #expect(pread(fd, &bytes, bytes.count, off_t(region.readerIndex)) == bytes.count)
            return String(decoding: bytes, as: UTF8.self)
        }
    }

    /// A file that was written just now may not be read at once while it is on its way to the disk.
    private func eventually<Value>(_ find: () throws -> Value?) async throws -> Value? {
        let deadline = ContinuousClock.now + .seconds(60)
        while ContinuousClock.now < deadline {
            if let value = try find() { return value }
            try await Task.sleep(for: .milliseconds(20))
        }
        return nil
    }

    @Test(
        "their answers are the router's, byte for byte",
        arguments: [
            "/a.txt", "/a.txt?v=1", "/empty.css", "/noextension", "/", "/dir/", "/dir.d/a.tar.gz", "/UPPER.TXT",
            "/.well-known/x.json", "/link.txt", "/middle", "/large", "//a.txt", "/notes.md",
        ], [HTTPMethod.GET, .HEAD])
    func same(uri: String, method: HTTPMethod) async throws {
        let router: HTTPRequest.Method = method == .HEAD ? .head : .get
        // One that was changed just now has a weak tag for a moment.
        let one = try await eventually {
            let one = try answer(uri, method: method)
            return one?.headers.contains { $0.hasPrefix("ETag: \"") } == true ? one : nil
        }
        let other = try await site.get(uri, method: router)
        let found = try #require(one)
        #expect(found.status == other.status.code)
        #expect(found.headers == other.headers.map { "\($0.name.rawName): \($0.value)" })
        #expect(found.body == other.body)
        #expect(method == .HEAD ? found.body == "" : found.body.utf8.count > 0 || uri == "/empty.css")
    }

    @Test(
        "everything else is left to the router",
        arguments: [
            "/none", "/dir", "/folder/", "/both.js", "/.hidden", "/../a.txt", "/dir/../a.txt", "/a%2Etxt", "/out.txt",
            "/a.txt/", "a.txt", "http://host/a.txt", "*", "", "/a.txt#x", "/%00",
        ])
    func other(uri: String) throws {
        #expect(try answer(uri) == nil)
    }

    @Test("so are conditions, ranges and other methods")
    func conditions() throws {
        for name in ["Range", "range", "If-Range", "If-None-Match", "IF-MODIFIED-SINCE"] {
            #expect(try answer("/a.txt", [name: "x"]) == nil)
        }
        for method in [HTTPMethod.POST, .PUT, .DELETE, .OPTIONS] {
            #expect(try answer("/a.txt", method: method) == nil)
        }
        #expect(try answer("/a.txt", ["Referer": "x", "Accept": "*/*", "R": "", "i": ""], method: .HEAD) != nil)
    }

    @Test("a file that is sent from the page cache counts twice among the open ones, until it is sent")
    func openFiles() async throws {
        let files = PlainFiles(root: try SiteRoot(site.root, openFiles: OpenFiles(max: 3)), log: nil)
        let head = HTTPRequestHead(version: .http1_1, method: .GET, uri: "/large")
        func answer() -> (() -> Void)? { files.answer(head, channel)?.whenSent }
        var first = try await eventually(answer)
        #expect(first != nil)
        #expect(answer() == nil)
        first?()
        first = nil
        let second = try await eventually(answer)
        #expect(second != nil)
        second?()
    }
}
