import Foundation
import Testing
import Transport

@testable import IntegrationTesting

extension Integration {
    /// Clients that mean no good, byte by byte. Beside each, one that behaves is served by the same worker.
    @Suite(.serialized)
    struct HTTPRefusalTests {
        private static let host = "Host: x\r\n"

        @Test(
            "what is no request is answered with the status that says so, and the connection closed",
            arguments: [
                ("\u{16}\u{03}\u{01} no HTTP\r\n\r\n", 400), ("GET /a.txt HTTP/1.1\r\n\r\n", 400),
                ("GET /a.txt HTTP/1.1\nHost: x\n\n", 400),
                ("GET /a.txt HTTP/1.1\r\n\(host)\(host)\r\n", 400), ("GET /a.txt HTTP/2.0\r\n\(host)\r\n", 505),
                ("GET /a.txt HTTP/1.1\r\n\(host)A: " + String(repeating: "a", count: 40_000) + "\r\n\r\n", 431),
                ("GET /a.txt HTTP/1.1\r\n\(host)A: " + String(repeating: "a", count: 900_000), 431),
                ("GET /a.txt HTTP/1.1\r\n\(host)" + String(repeating: "A: a\r\n", count: 2000) + "\r\n", 431),
                ("GET /" + String(repeating: "a", count: 900_000), 431),
                ("GET /a.txt HTTP/1.1\r\n\(host)Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400),
                ("GET /a.txt HTTP/1.1\r\n\(host)Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
                ("GET /a.txt HTTP/1.1\r\n\(host)Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
                ("GET /a.txt HTTP/1.1\r\n\(host)Content-Length: -1\r\n\r\n", 400),
                ("GET /a.txt HTTP/1.1\r\n\(host)Content-Length: 2000000\r\n\r\n", 413),
                (
                    "GET /a.txt HTTP/1.1\r\n\(host)Content-Length: 9000000\r\n\r\n"
                        + String(repeating: "a", count: 2_000_000), 413
                ),
                ("POST /a.txt HTTP/1.1\r\n\(host)Content-Length: 2000\r\n\r\nabc", 405),
                ("DELETE /a.txt HTTP/1.1\r\n\(host)\r\n", 405),
            ])
        func refused(text: String, status: Int) throws {
            let site = try HTTPSite(workers: 1, arguments: ["--access-log"])
            defer { site.kill() }
            let neighbour = try site.pool.ringmaster.connect()
            defer { neighbour.close() }
            #expect(try HTTPSite.gets("hello\n", neighbour))
            let answer = try site.exchange(text)
            #expect(answer.hasPrefix("HTTP/1.1 \(status) "), "\(answer)")
            #expect(answer.lowercased().contains("connection: close\r\n"), "\(answer)")
            #expect(answer.split(separator: "HTTP/1.1 ").count == 1, "one answer")
            #expect(try HTTPSite.gets("hello\n", neighbour))
            func lines() -> Int { site.pool.ringmaster.process.errors.split(separator: "status=\(status)").count - 1 }
            try wait(for: "a line in the log") { lines() > 0 }
            #expect(lines() == 1)
        }

        @Test(
            "no way leads out of the root, nor to what is hidden",
            arguments: [
                "/../../../../etc/passwd", "/%2e%2e/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2f..%2fetc/passwd",
                "//etc/passwd",
                "/./../etc/passwd", "/a.txt/../../etc/passwd", "/%252e%252e/etc/passwd", "/..\\..\\etc\\passwd", "/out",
                "/out/passwd", "/.hidden", "/%2ehidden", "/a.txt%00.html",
            ])
        func traversal(path: String) throws {
            let site = try HTTPSite(workers: 1, files: ["a.txt": "hello\n", ".hidden": "root:"])
            defer { site.kill() }
            symlink("/etc", site.path("out"))
            let answer = try site.exchange("GET \(path) HTTP/1.1\r\n\(Self.host)Connection: close\r\n\r\n")
            #expect(["400", "404"].contains(answer.dropFirst(9).prefix(3)), "\(answer)")
            #expect(!answer.contains("root:"))
        }

        @Test("a body in chunks that is too large ends the connection behind the one answer that there is")
        func chunkedBody() throws {
            let site = try HTTPSite(workers: 1)
            defer { site.kill() }
            let chunk = "10000\r\n" + String(repeating: "a", count: 65_536) + "\r\n"
            let answer = try site.exchange(
                "GET /a.txt HTTP/1.1\r\n\(Self.host)Transfer-Encoding: chunked\r\n\r\n"
                    + String(repeating: chunk, count: 20) + "0\r\n\r\n")
            #expect(answer.hasPrefix("HTTP/1.1 200 ") && answer.hasSuffix("\r\n\r\nhello\n"), "\(answer)")
            #expect(answer.split(separator: "HTTP/1.1 ").count == 1, "one answer")
        }

        @Test("HEAD is answered without a body, whatever the answer is", arguments: ["/a.txt", "/none", "/"])
        func head(path: String) throws {
            let site = try HTTPSite(workers: 1)
            defer { site.kill() }
            let head = "HEAD \(path) HTTP/1.1\r\n\(Self.host)\r\n"
            let answer = try site.exchange(head + head.replacing("\r\n\r\n", with: "\r\nConnection: close\r\n\r\n"))
            let heads = answer.split(separator: "\r\n\r\n")
            #expect(heads.count == 2 && heads.allSatisfy { $0.hasPrefix("HTTP/1.1 ") }, "\(answer)")
        }

        @Test("a head that takes too long is answered with 408; one that is complete in time is not")
        func slowHead() throws {
            let site = try HTTPSite(workers: 1, arguments: ["--header-timeout", "0.5"])
            defer { site.kill() }
            let (slow, behind) = (try site.pool.ringmaster.connect(), try site.pool.ringmaster.connect())
            defer { [slow, behind].closeAll() }
            try slow.send("GET /a.txt HTT")
            // A request, and the beginning of another.
            try behind.send("GET /a.txt HTTP/1.1\r\n\(Self.host)\r\nGET /a")
            #expect(try slow.receive(.max).hasPrefix("HTTP/1.1 408 "))
            let answers = try behind.receive(.max).split(separator: "HTTP/1.1 ")
            #expect(answers.map { $0.prefix(3) } == ["200", "408"])
            let patient = try site.pool.ringmaster.connect()
            defer { patient.close() }
            #expect(try HTTPSite.gets("hello\n", patient))
            usleep(700_000)
            #expect(try HTTPSite.gets("hello\n", patient), "between requests there is no head that could be slow")
        }

        @Test("a connection on which nothing passes is closed; a download that is slow, but passes, is not")
        func idle() throws {
            let site = try HTTPSite(workers: 1, arguments: ["--idle-timeout", "0.5"])
            defer { site.kill() }
            try site.write("large", Data(count: 8 << 20))
            let (silent, kept, half) = (
                try site.pool.ringmaster.connect(), try site.pool.ringmaster.connect(),
                try site.pool.ringmaster.connect()
            )
            let (slow, stuck) = (
                try Client(to: site.address, bufferBytes: 64 << 10), try Client(to: site.address, bufferBytes: 64 << 10)
            )
            defer { [silent, kept, half, slow, stuck].closeAll() }
            #expect(try HTTPSite.gets("hello\n", kept))
            try half.send("GET /a.txt HTTP/1.1\r\n\(Self.host)Content-Length: 10\r\n\r\nabc")
            for client in [slow, stuck] { try client.send("GET /large HTTP/1.1\r\n\(Self.host)\r\n") }
            for _ in 0..<16 {
                #expect(try slow.receive(256 << 10).utf8.count > 0)
                usleep(80_000)
            }
            #expect(try silent.receive(.max).isEmpty)
            #expect(try kept.receive(.max).isEmpty)
            #expect(try half.receive(.max).hasPrefix("HTTP/1.1 200 "))
            // By a reset: FIN would say that this was all.
            #expect(throws: (any Error).self) { try stuck.receive(.max) }
            #expect(try slow.receive(256 << 10).utf8.count == 256 << 10)
        }

        @Test("a download goes on as long as its client takes any of it, though the socket's buffer is large")
        func slowReader() throws {
            let site = try HTTPSite(workers: 1, arguments: ["--idle-timeout", "0.5"])
            defer { site.kill() }
            try site.write("large", Data(count: 12 << 20))
            let client = try Client(to: site.address, bufferBytes: 64 << 10)
            defer { client.close() }
            try client.send("GET /large HTTP/1.1\r\n\(Self.host)\r\n")
            var count = 0
            for _ in 0..<50 {
                count += try client.receive(32 << 10).utf8.count
                usleep(100_000)
            }
            #expect(count == 50 * (32 << 10))
            #expect(try client.receive(11 << 20).utf8.count > 10 << 20, "all that is left")
        }

        @Test("a request body on HTTP/2 has its limit without Content-Length too", .needs("nghttp", "openssl"))
        func http2Body() throws {
            let site = try HTTPSite(certificate: "localhost", workers: 1)
            defer { site.kill() }
            try site.write("upload", Data(count: 3 << 20))
            let body = ["-v", "--no-content-length", "-d", site.path("upload"), site.url("/a.txt")]
            let upload = try ChildProcess.succeed("nghttp", ["-H", ":method: GET"] + body)
            #expect(upload.contains(":status: 200"), "\(upload)")
            #expect(upload.contains("recv RST_STREAM") && upload.contains("NO_ERROR"), "\(upload)")
            #expect(try site.curl("--http2") == "hello\n")
        }

        @Test(
            "`Connection: close`, in any spelling, HTTP/1.0 and a wish for another protocol end behind the answer; the rest of a pipeline is not answered"
        )
        func closing() throws {
            let site = try HTTPSite(workers: 1)
            defer { site.kill() }
            for request in [
                "GET /a.txt HTTP/1.1\r\n\(Self.host)Connection: close\r\n\r\n",
                "GET /a.txt HTTP/1.1\r\n\(Self.host)Connection: Close\r\n\r\nGET /a.txt HTTP/1.1\r\n\(Self.host)\r\n",
                "GET /a.txt HTTP/1.0\r\n\r\n",
                "GET /a.txt HTTP/1.1\r\n\(Self.host)Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
            ] {
                let answer = try site.exchange(request)
                #expect(answer.split(separator: "HTTP/1.").count == 1, "\(answer)")
                #expect(answer.hasSuffix("\r\n\r\nhello\n"), "\(answer)")
            }
            let client = try site.pool.ringmaster.connect()
            defer { client.close() }
            try client.send("GET /a.txt HTTP/1.1\r\n\(Self.host)\r\n")
            try client.finishSending()
            #expect(try client.receive(.max).hasSuffix("hello\n"), "a client that has finished sending is answered")
        }
    }
}
