import Foundation
import Testing
import Transport

@testable import IntegrationTesting

extension Integration {
    @Suite(.serialized)
    struct BacklogTests {
        @Test("thousands that wait in the backlog while nobody has credit are all served as others leave")
        func burst() throws {
            let echo = try Ringmaster("echo", "--listen", "127.0.0.1:0", "--workers", "2", "--max-connections", "100")
            defer { echo.kill() }
            let holders = try Integration.connectAndEcho(100, to: echo.address)
            let waiting = try (0..<3_000).map { _ in try echo.connect() }
            defer { waiting.closeAll() }
            for (index, client) in waiting.enumerated() { try client.send("waiting \(index)\n") }
            holders.closeAll()
            for (index, client) in waiting.enumerated() {
                let text = "waiting \(index)\n"
                #expect(try client.receive(text.utf8.count) == text)
                client.close()
            }
            echo.process.signal(SIGTERM)
            #expect(try echo.process.waitForEnd(within: .seconds(10)) == .exited(0))
            #expect(echo.process.errors.contains("accepted=3100 adopted=3100"), "\(echo.process.errors)")
            #expect(echo.process.errors.contains("not-served=0"), "\(echo.process.errors)")
        }

        @Test("a full server says so in the log and in its status, with the limit that makes clients wait")
        func full() throws {
            let echo = try Pool(["echo", "--listen", "127.0.0.1:0", "--workers", "2", "--max-connections", "10"])
            defer { echo.kill() }
            let holders = try Integration.connectAndEcho(10, to: echo.address)
            defer { holders.closeAll() }
            try wait(for: "a warning that clients wait") {
                echo.ringmaster.process.errors.contains("full: new clients wait")
            }
            let log = echo.ringmaster.process.errors.split(separator: "\n")
            let warning = try #require(log.first { $0.contains("full:") })
            #expect(warning.contains("--max-connections") && warning.contains("connections=10"), "\(warning)")
            let status = try echo.run("status")
            #expect(
                status.output.contains("FULL at 10 connections: new clients wait; --max-connections allows no more"),
                "\(status.output)")
        }

        @Test("a proxy's worker without a descriptor for the upstream keeps its clients until there is one")
        func noDescriptorForTheUpstream() throws {
            let echo = try Ringmaster("echo", "--listen", "127.0.0.1:0", "--workers", "1")
            defer { echo.kill() }
            let proxy = try Ringmaster(
                "proxy", "--listen", "127.0.0.1:0", "--workers", "1", "--upstream", "\(echo.address)",
                "--connect-timeout", "30")
            defer { proxy.kill() }
            #expect(try proxy.connect().echoes("before"))
            let worker = proxy.workers[0]
            func allow(_ descriptors: Int) throws {
                _ = try ChildProcess.succeed("prlimit", ["--pid", "\(worker)", "--nofile=\(descriptors):"])
            }
            // One more than are open: enough for the client, not for its upstream.
            try wait(for: "the first connection to be gone") {
                ProcessTable.descriptors(of: worker).count { $0.hasPrefix("socket:") } == 1
            }
            try allow(ProcessTable.descriptors(of: worker).count + 1)
            let client = try proxy.connect()
            try client.send("patience")
            try wait(for: "a warning that clients wait") { proxy.process.errors.contains("clients wait") }
            try allow(1024)
            #expect(try client.receive(8) == "patience")
        }
    }
}
