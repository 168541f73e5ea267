import Foundation
import Testing
import Transport

@testable import IntegrationTesting

extension Integration {
    /// `ringmaster http` and the clients that people have.
    @Suite(.serialized, .needs("curl", "openssl"))
    struct HTTPClientTests {
        enum Way: CaseIterable {
            case plain, secure, secure2

            var certificate: String? { self == .plain ? nil : "localhost" }
            var option: String { self == .secure2 ? "--http2" : "--http1.1" }
            var version: String { self == .secure2 ? "2" : "1.1" }
        }

        @Test("curl gets a file as it is, and a part of it, and what has changed", arguments: Way.allCases)
        func files(way: Way) throws {
            let site = try HTTPSite(certificate: way.certificate)
            defer { site.kill() }
            try site.write("random", Data(Integration.randomBytes[..<(3 << 20)]))
            let copy = site.path("copy")
            #expect(
                try site.curl(way.option, "-o", copy, "-w", "%{http_code} %{http_version}", path: "/random")
                    == "200 \(way.version)")
            #expect(FileManager.default.contentsEqual(atPath: copy, andPath: site.path("random")))
            #expect(try site.curl(way.option, "-r", "1-3") == "ell")
            #expect(try site.curl(way.option, "-r", "-3") == "lo\n")
            #expect(try site.curl(way.option, "-r", "9-", "-o", "/dev/null", "-w", "%{http_code}") == "416")
            let head = try site.curl(way.option, "-I")
            #expect(head.contains(" 200") && head.lowercased().contains("content-length: 6"))
            let tag = try #require(
                head.split(separator: "\r\n").first { $0.lowercased().hasPrefix("etag: ") }?.dropFirst(6))
            #expect(
                try site.curl(way.option, "-H", "If-None-Match: \(tag)", "-o", "/dev/null", "-w", "%{http_code}")
                    == "304")
            #expect(try site.curl(way.option, "-w", "%{http_code}", "-o", "/dev/null", path: "/none") == "404")
        }

        @Test("a file of 1 GiB arrives byte for byte", .needs("sha256sum"), arguments: [Way.plain, .secure2])
        func large(way: Way) throws {
            let site = try HTTPSite(certificate: way.certificate)
            defer { site.kill() }
            let file = site.path("large")
            // Bytes that do not come again, so that none can take another's place.
            let script = """
                openssl enc -aes-128-ctr -K 0 -iv 0 -in /dev/zero 2>/dev/null | head -c 1G >"$0" && sha256sum <"$0" &&
                    curl -sSk \(way.option) "$1" | sha256sum
                """
            let sums = try ChildProcess.succeed(
                "bash", ["-c", script, file, site.url("/large")], within: .seconds(300)
            ).split(separator: "\n")
            #expect(sums.count == 2 && sums[0] == sums[1], "\(sums)")
        }

        @Test("an upload is refused with 405 or 413, and the client that sends it reads that", arguments: Way.allCases)
        func upload(way: Way) throws {
            let site = try HTTPSite(certificate: way.certificate)
            defer { site.kill() }
            try site.write("upload", Data(count: 3 << 20))
            let status = ["-o", "/dev/null", "-w", "%{http_code}"]
            for (method, expected) in [("PUT", "405"), ("POST", "405"), ("GET", "413")] {
                let answer = try site.curl(
                    way.option, "-H", "Expect:", "-X", method, "-T", site.path("upload"), status[0], status[1],
                    status[2], status[3])
                #expect(answer == expected, "\(method)")
            }
            #expect(try site.curl(way.option) == "hello\n")
        }

        @Test("openssl s_client: HTTP/2 or HTTP/1.1 as the client likes; a reload reads the certificate again")
        func negotiation() throws {
            let site = try HTTPSite(certificate: "first")
            defer { site.kill() }
            func session(_ protocols: String) throws -> String {
                try ChildProcess.succeed(
                    "openssl", ["s_client", "-connect", "127.0.0.1:\(site.address.port!)", "-alpn", protocols])
            }
            #expect(try session("h2,http/1.1").contains("ALPN protocol: h2"))
            #expect(try session("http/1.1").contains("ALPN protocol: http/1.1"))
            #expect(try session("h2").contains("CN = first"))
            try site.replaceCertificate("second")
            try site.pool.succeed("reload")
            #expect(try session("h2").contains("CN = second"))
            // A key that does not fit is no reason to serve no more.
            try site.write("junk", Data("no key".utf8))
            rename(site.path("junk"), site.path("../key"))
            let refused = try site.pool.run("reload")
            #expect(refused.poll() != .exited(0))
            #expect((refused.output + refused.errors).contains("--tls-key"), "\(refused.output)\(refused.errors)")
            #expect(try session("h2").contains("CN = second"))
        }

        @Test("a worker that dies while key and certificate do not belong together has a successor when they do")
        func halfRenewed() throws {
            let site = try HTTPSite(certificate: "first", workers: 2)
            defer { site.kill() }
            let old = try Data(contentsOf: URL(filePath: site.path("../certificate")))
            try site.replaceCertificate("second")
            let new = try Data(contentsOf: URL(filePath: site.path("../certificate")))
            try old.write(to: URL(filePath: site.path("../certificate")), options: .atomic)
            func log() -> String { site.pool.ringmaster.process.errors }
            kill(site.pool.workers[0], SIGKILL)
            try wait(for: "a worker that cannot start: \(log())") { log().contains("worker failed: --tls-key") }
            #expect(try site.curl() == "hello\n")
            try new.write(to: URL(filePath: site.path("../certificate")), options: .atomic)
            try site.pool.settle()
            #expect(try site.curl() == "hello\n")
        }

        @Test("certificates that cannot be used, and a root that is none, are refused at once, in one line")
        func refused() throws {
            let site = try HTTPSite(certificate: "localhost")
            defer { site.kill() }
            let (certificate, key) = (site.path("../certificate"), site.path("../key"))
            let other = site.path("other")
            _ = try ChildProcess.succeed(
                "openssl", ["genpkey", "-algorithm", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-out", other])
            for (arguments, words) in [
                (["--tls-certificate", certificate], ["--tls-key is missing"]),
                (["--tls-key", key], ["--tls-certificate is missing"]),
                (["--tls-certificate", "/none", "--tls-key", key], ["--tls-certificate /none", "No such file"]),
                (["--tls-certificate", certificate, "--tls-key", "/none"], ["--tls-key /none", "No such file"]),
                (["--tls-certificate", key, "--tls-key", key], ["no certificate"]),
                (["--tls-certificate", certificate, "--tls-key", certificate], ["no private key"]),
                (["--tls-certificate", certificate, "--tls-key", other], ["not the key of the certificate"]),
                (["--root", "/none"], ["--root /none", "No such file"]),
                (["--root", key], ["--root", "Not a directory"]),
                (["--header-max", "0"], ["--header-max 0"]),
                (["--idle-timeout", "0"], ["--idle-timeout 0"]),
            ] {
                let process = try Ringmaster.run(["http", "--listen", "127.0.0.1:0"] + arguments)
                #expect(process.poll() == .exited(2), "\(arguments)")
                for word in words { #expect(process.errors.contains(word), "\(process.errors)") }
                #expect(process.errors.split(separator: "\n").count == 1, "\(process.errors)")
            }
        }

        @Test("without an index the root says that it is served")
        func welcome() throws {
            let site = try HTTPSite()
            defer { site.kill() }
            #expect(try site.curl(path: "/").contains("Ringmaster serves this directory"))
            try site.write("index.html", Data("<p>mine".utf8))
            #expect(try site.curl(path: "/") == "<p>mine")
        }
    }
}
