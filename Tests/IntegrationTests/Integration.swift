import Foundation
import Testing
import Transport

@testable import IntegrationTesting

/// The built binary, started as its users start it. Its tests run one after the other: each is heavy by itself.
@Suite(.serialized) enum Integration {
    /// Random bytes, the same for every test of a run.
    static let randomBytes: [UInt8] = {
        var bytes = [UInt8](repeating: 0, count: 64 << 20)
        bytes.withUnsafeMutableBytes { arc4random_buf($0.baseAddress!, $0.count) }
        return bytes
    }()

    /// Connects `count` clients and lets each do one round trip, so that a worker has adopted every one of them.
    static func connectAndEcho(_ count: Int, to address: SocketAddress) throws -> [Client] {
        let clients = try (0..<count).map { _ in try Client(to: address) }
        for (index, client) in clients.enumerated() {
            try client.send("round trip \(index)\n")
        }
        for (index, client) in clients.enumerated() {
            let text = "round trip \(index)\n"
            let answer = try client.receive(text.utf8.count)
            guard answer == text else {
                throw HarnessError("client \(index) of \(count) got \(answer.debugDescription)")
            }
        }
        return clients
    }

    /// As `connectAndEcho`, in batches of 50: a worker that is behind with more sockets in flight than that (64) is passed
    /// over, whatever the balance says.
    static func connectGradually(_ count: Int, to address: SocketAddress) throws -> [Client] {
        try (0..<(count / 50)).flatMap { _ in try connectAndEcho(50, to: address) }
    }

    /// Opens and closes `count` connections, `width` at a time, each with one round trip.
    static func churn(_ count: Int, width: Int, address: SocketAddress) throws {
        for _ in 0..<(count / width) {
            try connectAndEcho(width, to: address).closeAll()
        }
    }
}
