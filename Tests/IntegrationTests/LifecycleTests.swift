import Glibc
import Testing
import Transport

@testable import IntegrationTesting

extension Integration {
    @Suite(.serialized)
    struct LifecycleTests {
        /// Far longer than a stop that does not wait, far shorter than `longGrace`.
        private static let prompt: Duration = .seconds(10)
        private static let longGrace = "60"

        private func waitUntilRefused(_ address: SocketAddress) throws {
            try wait(for: "\(address) to refuse connections") { (try? Client(to: address)) == nil }
        }

        @Test("SIGTERM and SIGQUIT end an idle server at once with exit code 0", arguments: [SIGTERM, SIGQUIT])
        func gracefulWhenIdle(signal: Int32) throws {
            let echo = try Ringmaster(
                "echo", "--listen", "127.0.0.1:0", "--workers", "2", "--grace", Self.longGrace)
            defer { echo.kill() }
            let workers = echo.workers
            try Integration.connectAndEcho(10, to: echo.address).closeAll()
            echo.process.signal(signal)
            #expect(try echo.process.waitForEnd(within: Self.prompt) == .exited(0))
            #expect(workers.count == 2)
            #expect(workers.allSatisfy { !ProcessTable.isRunning($0) })
        }

        @Test("a proxied connection that finishes within the grace is not cut, and none is accepted meanwhile")
        func drains() throws {
            let echo = try Ringmaster("echo", "--listen", "127.0.0.1:0", "--workers", "1")
            defer { echo.kill() }
            let proxy = try Ringmaster(
                "proxy", "--listen", "127.0.0.1:0", "--upstream", "\(echo.address)", "--workers", "2",
                "--grace", Self.longGrace)
            defer { proxy.kill() }
            let client = try proxy.connect()
            #expect(try client.echoes("before"))
            proxy.process.signal(SIGTERM)
            try waitUntilRefused(proxy.address)
            #expect(try client.echoes("during"))
            #expect(proxy.process.poll() == nil)
            try client.finishSending()
            #expect(try client.receive(1) == "")
            // The last connection is gone, so nothing is left to wait for.
            #expect(try proxy.process.waitForEnd(within: Self.prompt) == .exited(0))
        }

        @Test("a connection that is still there when the grace is over is cut, and the exit code is 0")
        func cutsAtTheDeadline() throws {
            let echo = try Ringmaster("echo", "--listen", "127.0.0.1:0", "--workers", "2", "--grace", "3")
            defer { echo.kill() }
            let client = try echo.connect()
            defer { client.close() }
            #expect(try client.echoes("before"))
            let start = MonotonicTime.now
            echo.process.signal(SIGTERM)
            #expect(try echo.process.waitForEnd() == .exited(0))
            // It waited for the client, though not longer than it was told: half a second for the last turn.
            #expect(MonotonicTime.now - start > .milliseconds(500))
            #expect(MonotonicTime.now - start < .milliseconds(3_500))
            #expect(client.hasEnded())
        }

        @Test("SIGINT, or a second SIGTERM during the grace, ends it without waiting", arguments: [SIGINT, SIGTERM])
        func fastStop(signal: Int32) throws {
            let echo = try Ringmaster("echo", "--listen", "127.0.0.1:0", "--workers", "1")
            defer { echo.kill() }
            let proxy = try Ringmaster(
                "proxy", "--listen", "127.0.0.1:0", "--upstream", "\(echo.address)", "--workers", "2",
                "--grace", Self.longGrace)
            defer { proxy.kill() }
            let client = try proxy.connect()
            defer { client.close() }
            #expect(try client.echoes("before"))
            if signal == SIGTERM {
                proxy.process.signal(SIGTERM)
                try waitUntilRefused(proxy.address)
                #expect(try client.echoes("during"))
            }
            proxy.process.signal(signal)
            #expect(try proxy.process.waitForEnd(within: Self.prompt) == .exited(0))
            try wait(for: "the client to be cut") { client.hasEnded() }
        }

        @Test("a Unix-domain socket is removed by the stop, so that the next start can bind it")
        func unixSocketIsRemoved() throws {
            let directory = try TemporaryDirectory()
            let path = directory.path("echo.sock")
            for _ in 0..<2 {
                let echo = try Ringmaster("echo", "--listen", "unix:\(path)", "--workers", "1")
                defer { echo.kill() }
                #expect(try echo.connect().echoes("hello"))
                echo.process.signal(SIGTERM)
                #expect(try echo.process.waitForEnd() == .exited(0))
                #expect(access(path, F_OK) != 0)
            }
        }

        @Test("a worker that is killed is replaced; the others' connections live on, and new ones are served")
        func killedWorkerIsReplaced() throws {
            let echo = try Ringmaster("echo", "--listen", "127.0.0.1:0", "--workers", "2")
            defer { echo.kill() }
            // Least loaded: one connection each.
            let clients = try Integration.connectAndEcho(2, to: echo.address)
            defer { clients.closeAll() }
            let before = echo.workers
            try #require(before.count == 2)
            kill(before[0], SIGKILL)
            try wait(for: "the killed worker's client to be cut") { clients.contains { $0.hasEnded() } }
            let survivors = clients.filter { !$0.hasEnded() }
            try #require(survivors.count == 1)
            #expect(try survivors[0].echoes("still here"))

            try wait(for: "a new worker; \(echo.workers) run, \(before[0]) was killed\n\(echo.process.errors)") {
                let workers = echo.workers
                return workers.count == 2 && !workers.contains(before[0])
            }
            #expect(echo.workers.contains(before[1]))
            try Integration.connectAndEcho(100, to: echo.address).closeAll()
            let newcomer = try #require(echo.workers.first { $0 != before[1] })
            try wait(for: "the new worker to get connections") {
                let batch = try Integration.connectAndEcho(4, to: echo.address)
                defer { batch.closeAll() }
                let established = ProcessTable.establishedInodes(localPort: echo.address.port!)
                return !ProcessTable.socketInodes(of: newcomer).isDisjoint(with: established)
            }
        }

        @Test("workers whose supervisor is killed leave by themselves")
        func orphansLeave() throws {
            let echo = try Ringmaster("echo", "--listen", "127.0.0.1:0", "--workers", "2", "--grace", "3")
            let workers = echo.workers
            defer { for worker in workers where ProcessTable.isRunning(worker) { kill(worker, SIGKILL) } }
            let client = try echo.connect()
            defer { client.close() }
            #expect(try client.echoes("before"))
            #expect(workers.count == 2)
            echo.process.signal(SIGKILL)
            #expect(try echo.process.waitForEnd() == .signalled(SIGKILL))
            try wait(for: "the workers \(workers) to leave") { !workers.contains(where: ProcessTable.isRunning) }
            #expect(client.hasEnded())
        }
    }
}
