import Foundation
import Glibc
import NIOCore
import NIOEmbedded
import NIOHTTP1
import Testing
import Transport

@testable import HTTPFiles

@Suite("files that are kept open")
struct KnownFilesTests {
    private let site: Site
    private let root: SiteRoot
    private let files: PlainFiles
    private let channel = NIOAsyncTestingChannel()

    init() throws {
        site = try Site(["a.txt": "first", "b/c.txt": "below"])
        root = try SiteRoot(site.root, openFiles: OpenFiles(max: 16))
        files = PlainFiles(root: root, log: nil)
    }

    private func body(_ uri: String) -> String? {
        let head = HTTPRequestHead(version: .http1_1, method: .GET, uri: uri)
        guard case .byteBuffer(let buffer)? = files.answer(head, channel)?.body else { return nil }
        return String(buffer: buffer)
    }

    /// The file's bytes, once they can be read without waiting: while they are written to the disk that may not be so.
    private func answered(_ uri: String) async throws -> String? {
        let deadline = ContinuousClock.now + .seconds(60)
        while ContinuousClock.now < deadline {
            if let body = body(uri) { return body }
            try await Task.sleep(for: .milliseconds(20))
        }
        return nil
    }

    /// Until the file is kept: one that was changed just now is not.
    private func keep(_ uri: String) async throws {
        let deadline = ContinuousClock.now + .seconds(60)
        while files.knownFiles.find(uri, .now) == nil, ContinuousClock.now < deadline {
            _ = body(uri)
            try await Task.sleep(for: .milliseconds(20))
        }
        #expect(files.knownFiles.count > 0)
    }

    @Test("a file that is kept is answered as it is at the moment, however it was changed")
    func changes() async throws {
        try await keep("/a.txt")
        #expect(try await answered("/a.txt") == "first")
        let inPlace = try #require(FileHandle(forWritingAtPath: site.path("a.txt")))
        try inPlace.write(contentsOf: Data("FIRST".utf8))
        #expect(body("/a.txt") ?? "FIRST" == "FIRST", "written to: the same size")
        #expect(files.knownFiles.find("/a.txt", .now) == nil, "its entity tag is a weak one for a while")
        try await keep("/a.txt")
        try site.write("new.txt", "second")
        #expect(rename(site.path("new.txt"), site.path("a.txt")) == 0)
        #expect(body("/a.txt") ?? "second" == "second", "another one in its place")
        try await keep("/a.txt")
        try site.write("a.txt.gz", "compressed")
        #expect(body("/a.txt") == nil, "a variant beside it")
        unlink(site.path("a.txt.gz"))
        try await keep("/a.txt")
        unlink(site.path("a.txt"))
        #expect(body("/a.txt") == nil, "deleted")
        #expect(files.knownFiles.count == 0)
    }

    @Test("a file that was moved out of the root is not answered, though a link leads to it")
    func movedOut() async throws {
        try await keep("/b/c.txt")
        let outside = site.root + "-outside"
        #expect(rename(site.path("b"), outside) == 0)
        defer { try? FileManager.default.removeItem(atPath: outside) }
        #expect(body("/b/c.txt") == nil)
        try site.link("b", to: outside)
        #expect(files.knownFiles.count == 0)
        #expect(body("/b/c.txt") == nil)
    }

    @Test("a file is closed after a while, and gives its descriptor back")
    func sweep() async throws {
        try await keep("/a.txt")
        let opened = MonotonicTime.now
        #expect(files.knownFiles.find("/a.txt", opened + KnownFiles.lifetime) == nil)
        #expect(files.knownFiles.count == 0)
        try await keep("/a.txt")
        #expect(!files.knownFiles.sweep(.now + KnownFiles.lifetime))
        #expect(files.knownFiles.count == 0)
        for _ in 0..<16 { #expect(root.openFiles.take()) }
        #expect(!root.openFiles.take())
        for _ in 0..<16 { root.openFiles.giveBack() }
    }

    @Test("the loop closes what is kept, and then has nothing to do any more")
    func sweepLater() async throws {
        try await keep("/a.txt")
        try await Task.sleep(for: KnownFiles.lifetime)
        await channel.testingEventLoop.advanceTime(by: .seconds(1))
        #expect(files.knownFiles.count == 0)
    }

    @Test("no more are kept than an eighth of the descriptors for files")
    func bound() async throws {
        for name in ["d.txt", "e.txt", "f.txt"] { try site.write(name, name) }
        for name in ["/d.txt", "/e.txt", "/f.txt"] {
            try await keep("/a.txt")
            #expect(try await answered(name) == String(name.dropFirst()))
            #expect(files.knownFiles.count <= 2)
        }
    }
}
