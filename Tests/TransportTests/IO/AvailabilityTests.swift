import Foundation
import Testing

@testable import Transport
@testable import TransportTesting

/// What the probe says where io_uring cannot be had, each case in a process of its own.
@Suite("io_uring denied")
struct AvailabilityTests {
    @Test(
        "denied by seccomp, the probe says so, auto decides for epoll, and a loop on a ring fails with the errno (netty 68)",
        arguments: [EPERM, ENOSYS])
    func seccomp(code: Int32) async {
        await #expect(processExitsWith: .success) { [code] in
            try Confinement.denyRing(with: code)
            guard case .unavailable(let cause) = UringAvailability.probe() else {
                Issue.record("a ring in spite of the filter")
                return
            }
            #expect(cause == .seccomp(code: code))
            #expect("\(cause)".contains("seccomp"))
            let decision = try TransportPreference.auto.decide()
            #expect(decision.transport == .epoll && decision.cause == cause)
            #expect(throws: cause) { try TransportPreference.ioUring.decide() }
            let error = #expect(throws: SystemError.self) { try EventLoop(TransportMode.uring.configuration) }
            #expect(error?.code == code)
            try expectEcho(.epoll)
        }
    }

    @Test(
        "an unprivileged user with little locked memory has rings that work, or is told the limit", .needsRoot,
        arguments: [0, 64 * 1024, 1 << 20] as [UInt])
    func lockedMemory(bytes: UInt) async {
        await #expect(processExitsWith: .success) { [bytes] in
            try Confinement.limitLockedMemory(bytes: bytes)
            switch UringAvailability.probe() {
            case .available:
                try expectEcho(.uring)
            case .unavailable(let cause):
                let limit = UringUnavailability.lockedMemory(limitBytes: UInt64(bytes))
                // A machine may also deny io_uring to unprivileged users or altogether.
                if TransportMode.uring.obstacle == nil { #expect(cause == limit) }
            }
        }
    }

    @Test(
        "rings are made until the locked memory is used up: each works, or fails with ENOMEM and leaves nothing behind",
        .needsRoot)
    func exhaustedMemory() async {
        await #expect(processExitsWith: .success) {
            try Confinement.limitLockedMemory(bytes: 1 << 20)
            var servers: [TestServer] = []
            for _ in 0..<64 {
                do {
                    servers.append(try TestServer(.uring, setUp: RecordingConnection.echo))
                } catch let error as SystemError {
                    let isDenied = TransportMode.uring.obstacle != nil
                    #expect(error.code == ENOMEM || isDenied, "\(error)")
                    break
                }
            }
            // On a kernel that charges the memory some have been refused.
            for server in servers {
                let peer = try Peer(connectingTo: server.address)
                try peer.send("hello")
                #expect(try peer.receive(exactly: 5) == Array("hello".utf8))
                try server.join()
            }
        }
    }
}

private func expectEcho(_ mode: TransportMode) throws {
    let server = try TestServer(mode, setUp: RecordingConnection.echo)
    let peer = try Peer(connectingTo: server.address)
    try peer.send("hello")
    #expect(try peer.receive(exactly: 5) == Array("hello".utf8))
    try server.join()
}
