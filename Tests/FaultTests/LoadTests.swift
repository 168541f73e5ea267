import Foundation
import Testing
import Transport

@testable import IntegrationTesting

/// A server of one connection that treats it badly.
private final class BadServer: Sendable {
    enum Fault: String, CaseIterable, Sendable {
        case refused, reset, eof, closed, timeout, wrong, extra
    }

    private let socket: Placeholder
    var address: SocketAddress { socket.address }

    init(_ fault: Fault) throws {
        socket = try Placeholder(isListening: fault != .refused)
        if fault == .refused { return }
        Thread.detachNewThread { [listener = socket.descriptor] in
            let client = accept(listener, nil, nil)
            if client >= 0 { Self.serve(client, fault) }
        }
    }

    deinit {
        socket.close()
    }

    private static func serve(_ client: Int32, _ fault: Fault) {
        var message = [UInt8](repeating: 0, count: 64)
        recv(client, &message, message.count, Int32(MSG_WAITALL))
        switch fault {
        case .refused, .eof: break
        case .reset:
            var linger = linger(l_onoff: 1, l_linger: 0)
            setsockopt(client, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<Glibc.linger>.size))
        case .closed:
            send(client, message, message.count, 0)
        case .timeout:
            // Until the client has given up.
            recv(client, &message, 1, 0)
        case .wrong:
            message[63] ^= 1
            send(client, message, message.count, 0)
        case .extra:
            send(client, message + message, 2 * message.count, 0)
        }
        close(client)
    }
}

extension Faults {
    @Suite(.serialized, .needs("cc"))
    struct LoadTests {
        @Test("the load tells each way to fail from the others", arguments: BadServer.Fault.allCases)
        fileprivate func failures(fault: BadServer.Fault) throws {
            let server = try BadServer(fault)
            let load = try FaultLoad(
                fault == .closed ? .hold : .churn, server.address, ["connections": 1, "total": 1, "timeout": 500])
            defer { load.kill() }
            try load.wait(for: "a failure") { $0.cut + $0.broken > 0 }
            let summary = try load.finish()
            let counted: [BadServer.Fault: Int] = [
                .refused: summary.refused, .reset: summary.reset, .eof: summary.eof, .closed: summary.closed,
                .timeout: summary.timeout, .wrong: summary.wrong, .extra: summary.extra,
            ]
            #expect(counted.filter { $0.value > 0 } == [fault: 1])
            #expect(load.failures.contains("\"class\":\"\(fault)\""))
            withExtendedLifetime(server) {}
        }

        @Test("an echo without faults has none: connections that come and go, that stay, that send much")
        func noFailures() throws {
            let echo = try Ringmaster("echo", "--listen", "127.0.0.1:0", "--workers", "2")
            defer { echo.kill() }
            let churn = try FaultLoad(.churn, echo.address, ["rate": 1000, "messages": 3, "total": 1000])
            let hold = try FaultLoad(.hold, echo.address, ["connections": 100, "interval": 50])
            let bulk = try FaultLoad(.bulk, echo.address, ["connections": 4, "size": 10_000, "bytes": 5_000_001])
            let loads = [churn, hold, bulk]
            defer { for load in loads { load.kill() } }
            try churn.wait(for: "ended them all") { $0.completed == 1000 }
            try hold.wait(for: "had answers") { $0.messages >= 1000 }
            try bulk.wait(for: "ended them all") { $0.completed == 4 }
            for (load, count) in zip(loads, [1000, 100, 4]) {
                let summary = try load.finish()
                #expect(summary.completed == count, "\(summary)\n\(load.failures)")
                #expect(summary.cut + summary.broken == 0, "\(summary)\n\(load.failures)")
            }
            _ = try echo.stopped(afterAdopting: 1104)
        }
    }
}
