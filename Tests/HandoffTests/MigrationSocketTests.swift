import CSocket
import Foundation
import Glibc
import Testing
import Transport

@testable import Handoff

@Suite("Moved connections on the hand-off socket") struct MigrationSocketTests {
    private let sender: HandoffSocket
    private let receiver: HandoffSocket

    init() throws {
        (sender, receiver) = try HandoffSocket.pair()
        sender.version = Packet.migrationVersion
    }

    @Test(
        "1 to 4 sockets and the state arrive, and stay open at the sender", arguments: 1...4,
        [0, 1, 4_096, 4_097, 1 << 20, 16 << 20])
    func arrives(socketCount: Int, stateSize: Int) throws {
        let files = try (0..<socketCount).map { _ in try memoryFile() }
        defer { for fd in files { close(fd) } }
        let moved = PacketSamples.moved(PacketSamples.addresses[9], socketCount: socketCount, stateSize: stateSize)
        #expect(sender.send(migrated: .max - 1, moved, fds: files) == .sent)
        #expect(sender.send(offer: .max, moved, fds: files) == .sent)
        for packet in [Packet.migrated(first: .max - 1, moved), .offer(number: .max, moved)] {
            guard case .packet(let arrived, let fds, let isTruncated) = receiver.receive() else {
                Issue.record("no packet came")
                return
            }
            defer { for fd in fds { close(fd) } }
            // Not in one expectation: it would print 16 MiB.
            let isWhole = arrived == packet
            #expect(isWhole && !isTruncated)
            #expect(fds.map(inode) == files.map(inode))
            #expect(Set(fds).isDisjoint(with: files))
            for fd in fds { #expect(fcntl(fd, F_GETFD) == FD_CLOEXEC) }
        }
        #expect(receiver.receive() == .empty)
    }

    @Test("a large state is behind the sockets in a sealed file that only the packet holds")
    func stateFile() throws {
        let socket = try memoryFile()
        defer { close(socket) }
        let moved = PacketSamples.moved(.unix(path: ""), socketCount: 1, stateSize: 4_097)
        #expect(sender.send(offer: 0, moved, fds: [socket]) == .sent)
        var message = csocket_message()
        var bytes = [UInt8](repeating: 0, count: Packet.sizeMax)
        #expect(csocket_receive(receiver.descriptor, &bytes, bytes.count, &message) == 0)
        try #require(message.fd_count == 2)
        defer { close(message.fds.0) }
        #expect(inode(message.fds.0) == inode(socket))
        #expect(try SealedMemory.read(message.fds.1, sizeMax: 4_097) == moved.state)
        let file = inode(message.fds.1)
        #expect(openDescriptors(of: file) == 1)
        close(message.fds.1)
        #expect(openDescriptors(of: file) == 0)
    }

    @Test("the file is closed when its state has been read")
    func stateFileIsClosed() throws {
        let moved = PacketSamples.moved(.unix(path: ""), socketCount: 1, stateSize: 4_097)
        let (socket, file) = (try memoryFile(), try SealedMemory.make(moved.state, name: "handoff-test"))
        defer { close(socket) }
        speak(encoded(.offer(number: 3, moved)), [socket, file])
        let number = inode(file)
        close(file)
        guard case .packet(.offer(number: 3, moved), let fds, fdsTruncated: false) = receiver.receive() else {
            Issue.record("no offer came")
            return
        }
        #expect(fds.map(inode) == [inode(socket)])
        for fd in fds { close(fd) }
        #expect(openDescriptors(of: number) == 0)
    }

    @Test(
        "anything but a sealed memfd in the place of a state is malformed at once, and everything that came is closed",
        .timeLimit(.minutes(1)), arguments: HostileFile.allCases)
    func hostileFile(file: HostileFile) throws {
        try expectRefused(try file.make(size: 5_000), stateSize: 5_000)
    }

    @Test(
        "a state of another size than the packet says is malformed", .timeLimit(.minutes(1)),
        arguments: [0, 1, 4_999, 5_001, 17 << 20])
    func hostileSize(size: Int) throws {
        try expectRefused(
            try SealedMemory.make([UInt8](repeating: 1, count: size), name: "handoff-test"), stateSize: 5_000)
    }

    @Test(
        "another number of descriptors than sockets and file is malformed, and all are closed", arguments: [0, 5_000])
    func descriptorCounts(stateSize: Int) throws {
        let moved = PacketSamples.moved(.unix(path: ""), socketCount: 2, stateSize: stateSize)
        let state = try SealedMemory.make(moved.state, name: "handoff-test")
        defer { close(state) }
        for packet in [Packet.migrated(first: 0, moved), .offer(number: 0, moved)] {
            for found in 0...16 where found != moved.descriptorCount {
                let carried = try HandoffSocket.pair().0
                let fds = Array(repeating: carried.descriptor, count: max(0, found - 1)) + (found > 0 ? [state] : [])
                speak(encoded(packet), fds)
                #expect(
                    receiver.receive() == .malformed(.descriptors(expected: moved.descriptorCount, found: found)))
                expectClosed(carried)
            }
        }
        #expect(receiver.receive() == .empty)
    }

    @Test("descriptors with a packet that is damaged are closed")
    func damaged() throws {
        let moved = PacketSamples.moved(.unix(path: ""), socketCount: 1, stateSize: 3)
        let bytes = encoded(.offer(number: 0, moved))
        let cases: [([UInt8], PacketError)] = [
            (Array(bytes.dropLast()), .truncated), (bytes + [0], .trailingBytes(1)),
            (replacing(0, in: bytes, with: 1), .kind(9)), (replacing(28, in: bytes, with: 5), .socketCount(5)),
            (encoded(.offerTaken(number: 1)), .descriptors(expected: 0, found: 1)),
            (encoded(.offerRefused(number: 1)), .descriptors(expected: 0, found: 1)),
        ]
        for (bytes, error) in cases {
            let carried = try HandoffSocket.pair().0
            speak(bytes, [carried.descriptor])
            #expect(receiver.receive() == .malformed(error))
            expectClosed(carried)
        }
    }

    @Test("a full socket and a peer that is gone say so, and nothing of it is left open", arguments: [10, 5_000])
    func notSent(stateSize: Int) throws {
        let carried = try HandoffSocket.pair().0
        let moved = PacketSamples.moved(.unix(path: ""), socketCount: 1, stateSize: stateSize)
        var (near, far): (HandoffSocket?, HandoffSocket?) = try HandoffSocket.pair()
        near?.version = Packet.migrationVersion
        var sent: UInt32 = 0
        while let near, sent < 10_000, near.send(offer: sent, moved, fds: [carried.descriptor]) == .sent { sent += 1 }
        #expect(near?.send(offer: sent, moved, fds: [carried.descriptor]) == .full)
        for number in 0..<sent {
            guard case .packet(.offer(number, moved), let fds, fdsTruncated: false) = far?.receive() else {
                Issue.record("offer \(number) did not come")
                return
            }
            for fd in fds { close(fd) }
        }
        #expect(far?.receive() == .empty)
        far = nil
        #expect(near?.send(offer: sent, moved, fds: [carried.descriptor]) == .peerGone)
        near = nil
        expectClosed(carried)
    }

    @Test("a state of more than 16 MiB is refused")
    func stateTooLarge() async {
        await #expect(processExitsWith: .failure) {
            _ = PacketSamples.moved(.unix(path: ""), socketCount: 1, stateSize: 16 << 20 + 1)
        }
    }

    @Test("a connection that cannot be said in version 1 is not sent in it")
    func version1() async {
        await #expect(processExitsWith: .failure) {
            let (sender, _) = try HandoffSocket.pair()
            let moved = PacketSamples.moved(.unix(path: ""), socketCount: 1, stateSize: 1)
            _ = sender.send(offer: 0, moved, fds: [0])
        }
    }

    /// Sends a moved connection with `file`, which it closes, in the place of its state, and expects it to be refused.
    private func expectRefused(_ file: Int32, stateSize: Int) throws {
        let moved = PacketSamples.moved(.unix(path: ""), socketCount: 2, stateSize: stateSize)
        for packet in [Packet.migrated(first: 0, moved), .offer(number: 0, moved)] {
            let carried = try HandoffSocket.pair().0
            speak(encoded(packet), [carried.descriptor, carried.descriptor, file])
            #expect(receiver.receive() == .malformed(.stateFile))
            expectClosed(carried)
        }
        #expect(sender.send(.stop) == .sent)
        #expect(receiver.receive() == .packet(.stop, fds: [], fdsTruncated: false))
        close(file)
    }

    /// Expects that nobody but `carried` itself has its socket open.
    private func expectClosed(_ carried: HandoffSocket) {
        #expect(openDescriptors(of: inode(carried.descriptor)) == 1)
    }

    /// Sends these bytes as a packet.
    private func speak(_ bytes: [UInt8], _ fds: [Int32]) {
        #expect(csocket_send(sender.descriptor, bytes, bytes.count, fds, UInt32(fds.count)) == bytes.count)
    }

    /// How many descriptors of this process are open on the file.
    private func openDescriptors(of file: FileIdentity) -> Int {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? []
        return names.compactMap { Int32($0) }.filter { inode($0) == file }.count
    }
}
