import Glibc
import Testing
import Transport

@testable import IntegrationTesting

extension Integration {
    @Suite(.serialized)
    struct BoundedMemoryTests {
        private static let connections = 32
        private static let growthMaxBytes = 64 << 20

        /// Sends on all clients until none has had room for a second; returns how much each has sent.
        private func pushUntilBlocked(_ clients: [Client], _ bytes: UnsafeRawBufferPointer) throws -> [Int] {
            var sent = [Int](repeating: 0, count: clients.count)
            while true {
                var entries = clients.enumerated().map { index, client in
                    let isDone = sent[index] == bytes.count
                    return pollfd(fd: isDone ? -1 : client.descriptor, events: Int16(POLLOUT), revents: 0)
                }
                guard poll(&entries, nfds_t(entries.count), 1000) > 0 else { return sent }
                for (index, entry) in entries.enumerated() where entry.revents != 0 {
                    let end = min(sent[index] + 64 << 10, bytes.count)
                    sent[index] += try clients[index].sendSome(.init(rebasing: bytes[sent[index]..<end]))
                }
            }
        }

        private func residentBytes(_ servers: [Ringmaster]) throws -> [pid_t: Int] {
            let pids = servers.flatMap { [$0.process.pid] + $0.workers }
            return try Dictionary(uniqueKeysWithValues: pids.map { ($0, try ProcessTable.residentBytes(of: $0)) })
        }

        /// Clients that send and do not read block; memory stays bounded; once they read, everything arrives.
        private func stopAndResume(_ servers: [Ringmaster], entrance: SocketAddress) throws {
            // A round trip first, so that what a worker allocates once is there before the measuring.
            let clients = try (0..<Self.connections).map { _ in try Client(to: entrance, bufferBytes: 64 << 10) }
            for client in clients { #expect(try client.echoes("hello")) }
            let before = try residentBytes(servers)
            try Integration.randomBytes.withUnsafeBytes { bytes in
                let sent = try pushUntilBlocked(clients, bytes)
                for (pid, residentBytes) in try residentBytes(servers) {
                    let growth = residentBytes - before[pid, default: 0]
                    #expect(growth < Self.growthMaxBytes, "process \(pid) grew by \(growth) bytes")
                }
                for (client, count) in zip(clients, sent) {
                    #expect(count < bytes.count, "a writer whose peer does not read was never blocked")
                    let nothing = UnsafeRawBufferPointer(rebasing: bytes[..<0])
                    let (matching, received) = try client.exchange(
                        nothing, expecting: UnsafeRawBufferPointer(rebasing: bytes[..<count]))
                    #expect(matching == count)
                    #expect(received == count)
                }
            }
        }

        @Test("writers whose peers stop reading block at bounded memory, and lose nothing: echo")
        func echo() throws {
            let echo = try Ringmaster("echo", "--listen", "127.0.0.1:0", "--workers", "2")
            defer { echo.kill() }
            try stopAndResume([echo], entrance: echo.address)
        }

        @Test("writers whose peers stop reading block at bounded memory, and lose nothing: proxy")
        func proxy() throws {
            let echo = try Ringmaster("echo", "--listen", "127.0.0.1:0", "--workers", "1")
            defer { echo.kill() }
            let proxy = try Ringmaster(
                "proxy", "--listen", "127.0.0.1:0", "--upstream", "\(echo.address)", "--workers", "2")
            defer { proxy.kill() }
            try stopAndResume([proxy, echo], entrance: proxy.address)
        }
    }
}
