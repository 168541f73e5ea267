import Foundation
import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import NIOEmbedded

@testable import HTTPFiles

/// A directory of its own, and a website that serves it.
final class Site {
    let root: String
    private let responder: any HTTPResponder<SiteContext>

    init(_ files: [String: String], lists: Bool = false, bodyMax: Int = 1024) throws {
        root = NSTemporaryDirectory() + "site-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: true)
        var website = Website(root: root)
        website.lists = lists
        website.bodyMax = bodyMax
        responder = try website.router(logger: Self.logger).buildResponder()
        for (path, text) in files { try write(path, text) }
    }

    deinit {
        try? FileManager.default.removeItem(atPath: root)
    }

    func path(_ name: String) -> String { "\(root)/\(name)" }

    func write(_ name: String, _ text: String) throws {
        let url = URL(filePath: path(name))
        try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(text.utf8).write(to: url)
    }

    func link(_ name: String, to target: String) throws {
        try FileManager.default.createSymbolicLink(atPath: path(name), withDestinationPath: target)
    }

    static var logger: Logger { Logger(label: "site") { _ in SwiftLogNoOpLogHandler() } }

    static func context() -> SiteContext {
        SiteContext(
            source: ApplicationRequestContextSource(
                channel: EmbeddedChannel(), logger: logger))
    }

    struct Answer {
        var status: HTTPResponse.Status
        var headers: HTTPFields
        var body: String
    }

    func get(_ path: String, _ headers: HTTPFields = [:], method: HTTPRequest.Method = .get) async throws -> Answer {
        let head = HTTPRequest(method: method, scheme: nil, authority: nil, path: path, headerFields: headers)
        let request = Request(head: head, body: .init(buffer: ByteBuffer()))
        let response = try await responder.respond(to: request, context: Self.context())
        let body = Collected()
        try await response.body.write(Collector(body))
        return Answer(status: response.status, headers: response.headers, body: String(buffer: body.buffer))
    }
}

/// Unchecked: safe, since one task writes, and reads when it has written, on whatever thread.
private final class Collected: @unchecked Sendable {
    var buffer = ByteBuffer()
}

private struct Collector: ResponseBodyWriter {
    let collected: Collected

    init(_ collected: Collected) { self.collected = collected }

    mutating func write(_ buffer: ByteBuffer) async throws {
        var buffer = buffer
        collected.buffer.writeBuffer(&buffer)
    }

    consuming func finish(_ trailingHeaders: HTTPFields?) async throws {}
}
