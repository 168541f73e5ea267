import CSocket
import Glibc
import Testing
import Transport

@testable import Handoff

/// What the builds of two versions say to each other.
@Suite("Packet versions") struct PacketVersionTests {
    private static let record = ConnectionRecord(
        listener: 0x0102, peer: .ipv4(0x7f00_0001, port: 0x1f90), acceptedAt: MonotonicTime(nanoseconds: 0x0a0b))
    private static let recordBytes: [UInt8] = [
        0x02, 0x01, 0x0b, 0x0a, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0x7f, 0x90, 0x1f,
    ]

    /// Version, kind, count, length, first.
    private static func header(
        _ version: UInt8, _ kind: UInt8, count: UInt16 = 0, length: UInt32, first: UInt64 = 0
    ) -> [UInt8] {
        [version, kind] + littleEndian(count) + littleEndian(length) + littleEndian(first)
    }

    /// Every kind of packet as builds of version 1 write it.
    private static let old: [(Packet, [UInt8])] = [
        (.connections(first: 0x1122, [record]), header(1, 1, count: 1, length: 17, first: 0x1122) + recordBytes),
        (.drain(milliseconds: 0x0102, migrationsPerSecond: 0), header(1, 2, length: 4) + [2, 1, 0, 0]),
        (.stop, header(1, 3, length: 0)),
        (.hello(version: 1, pid: 0x0304, incarnation: 0x05), header(1, 4, length: 9) + [1, 4, 3, 0, 0, 5, 0, 0, 0]),
        (.ready, header(1, 5, length: 0)),
        (.drained(forced: 0x0607), header(1, 6, length: 4) + [7, 6, 0, 0]),
        (.failed(.ringUnavailable, message: "no"), header(1, 7, length: 3) + [5, 0x6e, 0x6f]),
    ]

    /// Every kind of packet as builds of version 2 write it.
    private static let new: [(Packet, [UInt8])] = {
        let moved = MigratedConnection(record: record, socketCount: 2, state: [9, 8, 7])
        let movedBytes = recordBytes + [2, 3, 0, 0, 0, 9, 8, 7]
        let large = MigratedConnection(record: record, socketCount: 3, state: Array(repeating: 1, count: 0x1001))
        let largeBytes = recordBytes + [3, 0x01, 0x10, 0, 0]
        return [
            (.connections(first: 0x1122, [record]), header(2, 1, count: 1, length: 17, first: 0x1122) + recordBytes),
            (
                .drain(milliseconds: 0x0102, migrationsPerSecond: 0x0304),
                header(2, 2, length: 8) + [2, 1, 0, 0, 4, 3, 0, 0]
            ),
            (.stop, header(2, 3, length: 0)),
            (.hello(version: 2, pid: 0x0304, incarnation: 5), header(1, 4, length: 9) + [2, 4, 3, 0, 0, 5, 0, 0, 0]),
            (.ready, header(2, 5, length: 0)),
            (.drained(forced: 0x0607), header(2, 6, length: 4) + [7, 6, 0, 0]),
            (.failed(.ringUnavailable, message: "no"), header(2, 7, length: 3) + [5, 0x6e, 0x6f]),
            (.migrated(first: 0x1122, moved), header(2, 8, count: 1, length: 25, first: 0x1122) + movedBytes),
            (.offer(number: 0x33, moved), header(2, 9, count: 1, length: 25, first: 0x33) + movedBytes),
            (.offer(number: 0x33, large), header(2, 9, count: 1, length: 22, first: 0x33) + largeBytes),
            (.offerTaken(number: 0x0809), header(2, 10, length: 4) + [9, 8, 0, 0]),
            (.offerRefused(number: 0x0a0b), header(2, 11, length: 4) + [0x0b, 0x0a, 0, 0]),
        ]
    }()

    @Test("the bytes of a packet are these and no others, in version 1 and in version 2")
    func bytesAreFixed() {
        for (packet, bytes) in Self.old { #expect(encoded(packet, version: 1) == bytes) }
        for (packet, bytes) in Self.new { #expect(encoded(packet, version: 2) == bytes) }
        #expect(Set(Self.new.map { $0.1[1] }) == Set(PacketKind.allCases.map(\.rawValue)))
    }

    @Test("what a build of version 1 says is understood")
    func oldIsUnderstood() {
        for (packet, bytes) in Self.old {
            #expect(decodedWhole(bytes).map(\.packet) == .success(packet))
            #expect(decodedWhole(bytes).map(\.version) == .success(1))
        }
    }

    @Test("what is said in version 1 has no word that a build of version 1 does not know")
    func saidInVersion1() {
        #expect(
            encoded(.drain(milliseconds: 0x0102, migrationsPerSecond: 2_000), version: 1)
                == encoded(.drain(milliseconds: 0x0102, migrationsPerSecond: 0), version: 1))
        for packet in PacketSamples.connections + PacketSamples.oldControls {
            let bytes = encoded(packet, version: 1)
            #expect(bytes[0] == 1)
            #expect(1...7 ~= bytes[1])
        }
    }

    @Test("a packet in a version that does not have it is an error")
    func kindOfAnotherVersion() {
        for packet in PacketSamples.moved + [.offerTaken(number: 0), .offerRefused(number: 0)] {
            let bytes = encoded(packet)
            #expect(decoded(replacing(0, in: bytes, with: 1)) == .failure(.kind(bytes[1])))
        }
        let hello = encoded(.hello(version: 2, pid: 1, incarnation: 0))
        #expect(decoded(replacing(0, in: hello, with: 2)) == .failure(.kind(4)))
        let drains = Packet.versionMin...Packet.version
        for version in drains {
            let bytes = encoded(PacketSamples.drain(1), version: version)
            for other in drains where other != version {
                #expect(
                    decoded(replacing(0, in: bytes, with: other))
                        == .failure(other > version ? .truncated : .trailingBytes(4)))
            }
        }
    }

    @Test("two builds agree on the older one's version, or on none")
    func agreement() {
        #expect(Packet.versionAgreed(with: 0) == nil)
        #expect(Packet.versionAgreed(with: 1) == 1)
        #expect(Packet.versionAgreed(with: 2) == 2)
        #expect(Packet.versionAgreed(with: .max) == 2)
    }

    @Test("a supervisor speaks version 1 with a worker of version 1")
    func oldWorker() throws {
        let (supervisor, worker) = try HandoffSocket.pair()
        speak(worker, Self.old.filter { $0.0.isFromWorker }.map(\.1))
        guard case .packet(.hello(let version, _, _), _, _) = supervisor.receive() else {
            Issue.record("the hello of version 1 is not understood")
            return
        }
        supervisor.version = try #require(Packet.versionAgreed(with: version))
        for (packet, _) in Self.old where packet.isFromWorker {
            if case .hello = packet { continue }
            #expect(supervisor.receive() == .packet(packet, fds: [], fdsTruncated: false))
        }
        #expect(supervisor.send(.drain(milliseconds: 0x0102, migrationsPerSecond: 2_000)) == .sent)
        #expect(supervisor.send(.stop) == .sent)
        #expect(hear(worker) == Self.old[1].1)
        #expect(hear(worker) == Self.old[2].1)
    }

    @Test("a worker speaks version 1 with a supervisor of version 1")
    func oldSupervisor() throws {
        let (supervisor, worker) = try HandoffSocket.pair()
        #expect(worker.send(.hello(version: Packet.version, pid: 0x0304, incarnation: 5)) == .sent)
        #expect(worker.send(.ready) == .sent)
        #expect(hear(supervisor) == Self.new[3].1)
        #expect(hear(supervisor) == Self.old[4].1)
        speak(supervisor, [Self.old[1].1])
        #expect(worker.receive() == .packet(PacketSamples.drain(0x0102), fds: [], fdsTruncated: false))
        #expect(worker.versionHeard == 1)
        worker.version = worker.versionHeard
        #expect(worker.send(.drained(forced: 0x0607)) == .sent)
        #expect(hear(supervisor) == Self.old[5].1)
    }

    @Test("two builds of version 2 come to speak version 2, and back when the supervisor is an older build again")
    func newBuilds() throws {
        let (supervisor, worker) = try HandoffSocket.pair()
        #expect(worker.send(.hello(version: Packet.version, pid: 1, incarnation: 0)) == .sent)
        #expect(worker.send(.ready) == .sent)
        guard case .packet(.hello(let version, _, _), _, _) = supervisor.receive() else {
            Issue.record("no hello")
            return
        }
        supervisor.version = try #require(Packet.versionAgreed(with: version))
        #expect(supervisor.version == 2)
        // Said before the worker could know.
        #expect(supervisor.receive() == .packet(.ready, fds: [], fdsTruncated: false))
        #expect(supervisor.versionHeard == 1)
        let drain = Packet.drain(milliseconds: 1, migrationsPerSecond: 2_000)
        #expect(supervisor.send(drain) == .sent)
        #expect(worker.receive() == .packet(drain, fds: [], fdsTruncated: false))
        #expect(worker.versionHeard == 2)
        speak(supervisor, [Self.old[2].1])
        #expect(worker.receive() == .packet(.stop, fds: [], fdsTruncated: false))
        #expect(worker.versionHeard == 1)
    }

    @Test("what is not a packet does not change the version heard")
    func versionOfDamage() throws {
        let (supervisor, worker) = try HandoffSocket.pair()
        speak(supervisor, [[2, 99], [3]])
        #expect(worker.receive() == .malformed(.truncated))
        #expect(worker.receive() == .malformed(.version(3)))
        #expect(worker.versionHeard == 1)
    }

    /// Sends these bytes, a packet each.
    private func speak(_ socket: HandoffSocket, _ packets: [[UInt8]]) {
        for bytes in packets { #expect(csocket_send(socket.descriptor, bytes, bytes.count, nil, 0) == bytes.count) }
    }

    /// The bytes of the next packet.
    private func hear(_ socket: HandoffSocket) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: Packet.sizeMax)
        let count = recv(socket.descriptor, &bytes, bytes.count, Int32(MSG_DONTWAIT))
        return Array(bytes.prefix(max(0, count)))
    }
}

extension Packet {
    fileprivate var isFromWorker: Bool {
        switch self {
        case .hello, .ready, .drained, .failed, .offer: true
        case .connections, .migrated, .drain, .stop, .offerTaken, .offerRefused: false
        }
    }
}
