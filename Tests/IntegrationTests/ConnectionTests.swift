import Foundation
import Testing
import Transport

@testable import IntegrationTesting

extension Integration {
    @Suite(.serialized)
    struct ConnectionTests {
        @Test("5,000 connections are opened and closed, each with a round trip through the proxy", arguments: [1, 100])
        func churn(width: Int) throws {
            let echo = try Ringmaster("echo", "--listen", "127.0.0.1:0", "--workers", "1")
            defer { echo.kill() }
            let proxy = try Ringmaster(
                "proxy", "--listen", "127.0.0.1:0", "--upstream", "\(echo.address)", "--workers", "2")
            defer { proxy.kill() }
            try Integration.churn(5_000, width: width, address: proxy.address)
        }

        @Test("with two workers, 1,000 live connections differ by at most 2 between them")
        func balance() throws {
            let echo = try Ringmaster("echo", "--listen", "127.0.0.1:0", "--workers", "2")
            defer { echo.kill() }
            let clients = try Integration.connectGradually(1_000, to: echo.address)
            defer { clients.closeAll() }

            let established = ProcessTable.establishedInodes(localPort: echo.address.port!)
            let perWorker = echo.workers.map { ProcessTable.socketInodes(of: $0).intersection(established) }
            try #require(perWorker.count == 2)
            #expect(perWorker[0].isDisjoint(with: perWorker[1]))
            #expect(perWorker[0].count + perWorker[1].count == 1_000)
            #expect(abs(perWorker[0].count - perWorker[1].count) <= 2, "\(perWorker.map(\.count))")
        }

        @Test("round robin deals connections out in turn, and source hash keeps one source with one worker")
        func otherBalances() throws {
            for (mode, expected) in [("round-robin", [50, 50]), ("source-hash", [0, 100])] {
                let echo = try Ringmaster(
                    "echo", "--listen", "127.0.0.1:0", "--workers", "2", "--balance", mode)
                defer { echo.kill() }
                let clients = try Integration.connectGradually(100, to: echo.address)
                defer { clients.closeAll() }
                let established = ProcessTable.establishedInodes(localPort: echo.address.port!)
                let counts = echo.workers.map { ProcessTable.socketInodes(of: $0).intersection(established).count }
                #expect(counts.sorted() == expected, "\(mode)")
            }
        }

        @Test(
            "a worker has one ring (or epoll instance), one eventfd and no listening socket; the listener is the supervisor's"
        )
        func descriptorsOfAWorker() throws {
            let (wanted, other) =
                switch try TransportPreference.auto.decide().transport {
                case .ioUring: ("anon_inode:[io_uring]", "anon_inode:[eventpoll]")
                case .epoll: ("anon_inode:[eventpoll]", "anon_inode:[io_uring]")
                }
            let directory = try TemporaryDirectory()
            let echo = try Ringmaster(
                "echo", "--listen", "127.0.0.1:0", "--listen", "unix:\(directory.path("echo.sock"))", "--workers", "2")
            defer { echo.kill() }
            try Integration.connectAndEcho(10, to: echo.address).closeAll()

            let listening = ProcessTable.listeningInodes()
            #expect(ProcessTable.socketInodes(of: echo.process.pid).intersection(listening).count == 2)
            #expect(echo.workers.count == 2)
            for worker in echo.workers {
                let descriptors = ProcessTable.descriptors(of: worker)
                #expect(descriptors.count { $0 == wanted } == 1, "\(descriptors)")
                #expect(!descriptors.contains(other), "\(descriptors)")
                #expect(descriptors.count { $0 == "anon_inode:[eventfd]" } == 1, "\(descriptors)")
                #expect(ProcessTable.socketInodes(of: worker).isDisjoint(with: listening), "\(descriptors)")
            }
        }

        @Test("after 10,000 connections no descriptor is left behind, in the supervisor or in a worker")
        func noDescriptorLeft() throws {
            let echo = try Ringmaster("echo", "--listen", "127.0.0.1:0", "--workers", "1")
            defer { echo.kill() }
            let proxy = try Ringmaster(
                "proxy", "--listen", "127.0.0.1:0", "--upstream", "\(echo.address)", "--workers", "2")
            defer { proxy.kill() }
            let pids = [echo, proxy].flatMap { [$0.process.pid] + $0.workers }
            #expect(pids.count == 5)
            /// Socket inodes differ from connection to connection; what counts is how many there are of each kind.
            func kinds() -> [[String]] {
                pids.map { ProcessTable.descriptors(of: $0).map { $0.hasPrefix("socket:") ? "socket" : $0 } }
            }
            let before = kinds()
            #expect(before.allSatisfy { !$0.isEmpty })
            try Integration.churn(10_000, width: 100, address: proxy.address)
            try wait(for: "the descriptors of \(pids) to be \(before); they are \(kinds())") { kinds() == before }
        }

        @Test(
            "without a descriptor left, in the supervisor or in the worker, nothing spins, dies or is lost",
            arguments: ["supervisor", "worker"])
        func descriptorsExhausted(where place: String) throws {
            let echo = try Ringmaster("echo", "--listen", "127.0.0.1:0", "--workers", "1")
            defer { echo.kill() }
            let workers = echo.workers
            let pids = [echo.process.pid] + workers
            let pid = place == "supervisor" ? echo.process.pid : workers[0]
            func allow(_ descriptors: Int) throws {
                _ = try ChildProcess.succeed("prlimit", ["--pid", "\(pid)", "--nofile=\(descriptors):"])
            }
            #expect(try echo.connect().echoes("before"))
            // Room for a few more, so that the shortage comes in the middle of a batch.
            try allow(ProcessTable.descriptors(of: pid).count + 3)
            let clients = try (0..<40).map { _ in try echo.connect() }
            defer { clients.closeAll() }
            for client in clients { try client.send("hello") }
            #expect(try clients[0].receive(5) == "hello")

            func ticks() -> Int { pids.map(ProcessTable.processorTicks).reduce(0, +) }
            let before = ticks()
            sleep(2)
            #expect(ticks() - before < sysconf(Int32(_SC_CLK_TCK)), "half a processor while there is nothing to do")

            try allow(1024)
            for client in clients.dropFirst() { #expect(try client.receive(5) == "hello") }
            #expect(echo.process.poll() == nil)
            #expect(echo.workers == workers)
        }
    }
}
