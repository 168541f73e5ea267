import Glibc
import NIOCore
import Testing

@testable import RingmasterNIO
@testable import Transport
@testable import TransportTesting

/// A datagram channel on a kernel whose completions are made up.
@Suite("Datagram channels: receives that fail as they seldom do", .timeLimit(.minutes(1)))
struct DatagramFailureTests {
    /// A bound channel whose first receive fails, and what it was told some turns later.
    private static func events(failing code: Int32) async throws -> (told: [String], isActive: Bool, receives: Int) {
        try await blocking {
            let kernel = ScriptedKernel(bufferCount: 4, bufferSize: 512)
            let fd = try Socket.datagram(family: AF_INET)
            let journal = Journal()
            let made = Recorder<RingDatagramChannel>()
            let result = Recorder<(Bool, Int)>()
            let fail: ScriptedKernel.Step = { $0.complete(.receive, -code) }
            let rest: ScriptedKernel.Step = { _ in usleep(60_000) }
            let look: ScriptedKernel.Step = { result.record((made.all[0].isActive, $0.count(.receive))) }
            try kernel.run(
                setUp: { below in
                    let channel = RingDatagramChannel(RingEventLoop(on: below), fd: fd)
                    made.record(channel)
                    try? channel.pipeline.syncOperations.addHandler(Spy(journal))
                    channel.register(promise: nil)
                    channel.bind(to: NIOCore.SocketAddress(.anyLoopback), promise: nil)
                },
                all: [{ _ in }, fail, { _ in }, rest, { _ in }, look])
            let (isActive, receives) = try result.next()
            return (journal.events, isActive, receives)
        }
    }

    @Test("memory that is short is told, and the channel goes on")
    func memoryShort() async throws {
        let (told, isActive, receives) = try await Self.events(failing: ENOMEM)
        #expect(told.prefix(3) == ["registered", "active", "error \(ENOMEM)"])
        #expect(isActive && receives == 1)
    }

    @Test("another failure of the socket is told, and ends the channel", arguments: [EFAULT, EBADF])
    func ended(code: Int32) async throws {
        let (told, isActive, receives) = try await Self.events(failing: code)
        #expect(told.prefix(5) == ["registered", "active", "error \(code)", "inactive", "unregistered"])
        #expect(!isActive && receives == 0)
    }
}
