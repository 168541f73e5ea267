import CSocket
import Glibc
import Testing
import Transport

@testable import Handoff

@Suite("Hand-off socket") struct HandoffSocketTests {
    private let supervisor: HandoffSocket
    private let worker: HandoffSocket

    init() throws {
        (supervisor, worker) = try HandoffSocket.pair()
    }

    @Test("control packets arrive whole, in order, in both directions")
    func controlPackets() {
        supervisor.version = Packet.version
        worker.version = Packet.version
        for packet in PacketSamples.controls {
            #expect(supervisor.send(packet) == .sent)
            #expect(worker.send(packet) == .sent)
        }
        for packet in PacketSamples.controls {
            #expect(worker.receive() == .packet(packet, fds: [], fdsTruncated: false))
            #expect(supervisor.receive() == .packet(packet, fds: [], fdsTruncated: false))
        }
        #expect(worker.receive() == .empty)
        #expect(supervisor.receive() == .empty)
    }

    @Test("1 to 16 descriptors arrive in order and close-on-exec, and stay open at the sender")
    func descriptorsPass() throws {
        for count in 1...Packet.connectionsMax {
            let files = try (0..<count).map { _ in try memoryFile() }
            let records = (0..<count).map { PacketSamples.record(PacketSamples.addresses[$0 % 10], $0) }
            #expect(supervisor.send(connections: UInt64(count), records: records, fds: files) == .sent)

            guard case .packet(let packet, let fds, let truncated) = worker.receive() else {
                Issue.record("no packet of \(count) came")
                return
            }
            #expect(packet == .connections(first: UInt64(count), records))
            #expect(!truncated)
            #expect(fds.map(inode) == files.map(inode))
            #expect(Set(fds).isDisjoint(with: files))
            for fd in fds { #expect(fcntl(fd, F_GETFD) == FD_CLOEXEC) }
            for fd in fds + files { close(fd) }
        }
    }

    @Test("both ends are close-on-exec")
    func endsAreCloseOnExec() {
        #expect(fcntl(supervisor.descriptor, F_GETFD) == FD_CLOEXEC)
        #expect(fcntl(worker.descriptor, F_GETFD) == FD_CLOEXEC)
    }

    @Test("a full socket says so, loses nothing it took, and takes more when the peer has read")
    func fullSocket() {
        var sent: UInt32 = 0
        var last = SendResult.sent
        while last == .sent && sent < 100_000 {
            last = supervisor.send(PacketSamples.drain(sent))
            if last == .sent { sent += 1 }
        }
        #expect(last == .full)
        for milliseconds in 0..<sent {
            #expect(worker.receive() == .packet(PacketSamples.drain(milliseconds), fds: [], fdsTruncated: false))
        }
        #expect(worker.receive() == .empty)
        #expect(supervisor.send(.stop) == .sent)
    }

    @Test("sending to a peer that is gone says so, without SIGPIPE")
    func peerGone() throws {
        let file = try memoryFile()
        defer { close(file) }
        let alone = try endWithoutPeer { _ in }
        #expect(alone.send(.stop) == .peerGone)
        #expect(alone.send(connections: 0, records: [PacketSamples.record(.unix(path: ""))], fds: [file]) == .peerGone)
        #expect(alone.receive() == .endOfFile)
    }

    @Test("what a worker said before it died is received, though it left packets unread")
    func lastWordsAfterReset() throws {
        let alone = try endWithoutPeer { dying in
            #expect(dying.send(.ready) == .sent)
            #expect(dying.send(.drained(forced: 3)) == .sent)
        } unread: {
            #expect($0.send(.stop) == .sent)
        }
        #expect(alone.receive() == .packet(.ready, fds: [], fdsTruncated: false))
        #expect(alone.receive() == .packet(.drained(forced: 3), fds: [], fdsTruncated: false))
        #expect(alone.receive() == .endOfFile)
    }

    @Test("descriptors that come with anything but a good packet are closed")
    func malformedClosesDescriptors() throws {
        let twoRecords = encoded(
            .connections(first: 0, Array(repeating: PacketSamples.record(.ipv4(1, port: 1)), count: 2)))
        let cases: [([UInt8], PacketError)] = [
            (encoded(.ready), .descriptors(expected: 0, found: 1)),
            (twoRecords, .descriptors(expected: 2, found: 1)),
            ([Packet.version + 1], .version(Packet.version + 1)),
            ([UInt8](repeating: 0, count: Packet.sizeMax + 1), .tooLong),
            (Array(twoRecords.dropLast()), .truncated),
        ]
        for (bytes, error) in cases {
            let watch = try endWithoutPeer { carried in
                #expect(csocket_send(supervisor.descriptor, bytes, bytes.count, [carried.descriptor], 1) == bytes.count)
            }
            #expect(watch.receive() == .empty)
            #expect(worker.receive() == .malformed(error))
            // The watch hangs up when nobody has its other end any more.
            var hangUp = pollfd(fd: watch.descriptor, events: 0, revents: 0)
            #expect(poll(&hangUp, 1, 10_000) == 1 && hangUp.revents & Int16(POLLHUP) != 0)
        }
        #expect(worker.receive() == .empty)
    }

    @Test("every error of sendmsg(2) has its result")
    func sendErrors() {
        #expect(SendResult(-Int64(EAGAIN), length: 16) == .full)
        #expect(SendResult(-Int64(ETOOMANYREFS), length: 16) == .tooManyInFlight)
        for gone in [EPIPE, ECONNRESET, ENOTCONN, ECONNREFUSED] {
            #expect(SendResult(-Int64(gone), length: 16) == .peerGone)
        }
        #expect(SendResult(-Int64(ENOBUFS), length: 16) == .failed(errno: ENOBUFS))
        #expect(SendResult(16, length: 16) == .sent)
    }

    /// One end of a pair whose other end sent what `speak` sends, left unread what `unread` sends, and is closed.
    private func endWithoutPeer(
        _ speak: (HandoffSocket) -> Void, unread: (HandoffSocket) -> Void = { _ in }
    ) throws -> HandoffSocket {
        let (near, far) = try HandoffSocket.pair()
        withExtendedLifetime(far) {
            speak(far)
            unread(near)
        }
        return near
    }
}

/// A new memory file, close-on-exec; the caller closes it.
func memoryFile() throws -> Int32 {
    let fd = csocket_memfd("handoff-test", 1)
    try #require(fd >= 0)
    return fd
}

/// What tells one open file from another.
struct FileIdentity: Hashable {
    var device: dev_t = 0
    var number: ino_t = 0
}

/// Which file the descriptor is open on; nothing's when it is not open.
func inode(_ fd: Int32) -> FileIdentity {
    var status = stat()
    return fstat(fd, &status) == 0 ? FileIdentity(device: status.st_dev, number: status.st_ino) : FileIdentity()
}
