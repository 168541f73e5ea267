import Foundation
import Testing
import Transport

@testable import IntegrationTesting

/// A directory of files, and a `ringmaster http` that serves it.
final class HTTPSite {
    let pool: Pool
    private let directory: TemporaryDirectory
    private let isSecure: Bool

    /// - Parameters:
    ///   - certificate: its name, to serve with TLS.
    ///   - files: their names and what is in them.
    init(
        certificate: String? = nil, workers: Int = 2, binary: String = Ringmaster.binary, arguments: [String] = [],
        files: [String: String] = ["a.txt": "hello\n"]
    ) throws {
        directory = try TemporaryDirectory()
        isSecure = certificate != nil
        try FileManager.default.createDirectory(atPath: directory.path("root"), withIntermediateDirectories: true)
        var tls: [String] = []
        if let certificate {
            try Self.makeCertificate(certificate, in: directory)
            tls = ["--tls-certificate", directory.path("certificate"), "--tls-key", directory.path("key")]
        }
        pool = try Pool(
            ["http", "--root", directory.path("root"), "--listen", "127.0.0.1:0", "--workers", "\(workers)"] + tls
                + arguments, binary: binary)
        for (name, text) in files { try write(name, Data(text.utf8)) }
    }

    func kill() { pool.kill() }

    // MARK: Files

    func path(_ name: String) -> String { directory.path("root/\(name)") }

    /// Replaces the file at once.
    func write(_ name: String, _ data: Data) throws {
        try data.write(to: URL(filePath: path(name)), options: .atomic)
    }

    func replaceCertificate(_ name: String) throws { try Self.makeCertificate(name, in: directory) }

    private static func makeCertificate(_ name: String, in directory: TemporaryDirectory) throws {
        _ = try ChildProcess.succeed(
            "openssl",
            [
                "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                "-subj", "/CN=\(name)", "-keyout", directory.path("key"), "-out", directory.path("certificate"),
            ])
    }

    // MARK: Clients

    var address: SocketAddress { pool.address }

    func url(_ path: String) -> String { "\(isSecure ? "https" : "http")://127.0.0.1:\(address.port!)\(path)" }

    /// What curl writes, with these arguments and the URL of `path`; it must succeed.
    func curl(_ arguments: String..., path: String = "/a.txt") throws -> String {
        try ChildProcess.succeed("curl", ["-sSk", "--max-time", "60"] + arguments + [url(path)], within: .seconds(90))
    }

    /// All that comes back to these bytes until the server ends the connection, in order and not by a reset.
    func exchange(_ text: String) throws -> String {
        let client = try pool.ringmaster.connect()
        defer { client.close() }
        try client.send(text)
        return try client.receive(.max)
    }

    /// A whole answer to `GET` of a file with that text, on a connection that is kept.
    static func gets(_ text: String, _ client: Client) throws -> Bool {
        try client.send("GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n")
        var answer = ""
        while !answer.hasSuffix("\r\n\r\n" + text) {
            let more = try client.receive(1)
            if more.isEmpty { return false }
            answer += more
        }
        return answer.hasPrefix("HTTP/1.1 200 ")
    }
}
