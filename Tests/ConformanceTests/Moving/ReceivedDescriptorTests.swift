import CSocket
import Foundation
import Testing

@testable import Transport
@testable import TransportTesting

/// A message as it arrived. The descriptors are the test's to close.
private struct Arrival: Sendable, Equatable {
    var bytes: [UInt8]
    var descriptors: [Int32]
    var isTruncated = false
}

/// Takes every descriptor out and records it.
private final class Receiver: Connection {
    let arrivals: Recorder<Arrival>
    let events: Recorder<Happening>
    var onReceived: ((Receiver) -> Void)?

    init(_ loop: EventLoop, fd: Int32, _ arrivals: Recorder<Arrival>, _ events: Recorder<Happening>) {
        self.arrivals = arrivals
        self.events = events
        super.init(loop, fd: fd, configuration: receiving)
    }

    init(
        _ loop: EventLoop, _ detached: consuming DetachedConnection, _ arrivals: Recorder<Arrival>,
        _ events: Recorder<Happening>
    ) {
        self.arrivals = arrivals
        self.events = events
        super.init(loop, detached, configuration: receiving)
    }

    override func received(_ bytes: RawSpan, descriptors: consuming ReceivedDescriptors) {
        var taken: [Int32] = []
        let isTruncated = descriptors.isTruncated
        while let fd = descriptors.takeFirst() { taken.append(fd) }
        arrivals.record(
            Arrival(bytes: bytes.withUnsafeBytes { Array($0) }, descriptors: taken, isTruncated: isTruncated))
        onReceived?(self)
    }

    override func inputEnded() {
        events.record(.inputEnded)
        super.inputEnded()
    }

    override func closed(_ reason: CloseReason) { events.record(.closed(reason)) }
}

// Sendable: as the receiver is touched on its loop's thread only.
private struct ReceiverBox: @unchecked Sendable {
    let receiver: Receiver
}

private let receiving: ConnectionConfiguration = {
    var configuration = ConnectionConfiguration()
    configuration.receivesDescriptors = true
    return configuration
}()

/// Sends with sendmsg(2), with more descriptors than the transport itself would (up to SCM_MAX_FD).
private func send(_ bytes: [UInt8], _ descriptors: [Int32], on socket: Int32) throws {
    var control = [UInt64](repeating: 0, count: 2 + (descriptors.count + 1) / 2)
    control.withUnsafeMutableBytes { raw in
        // struct cmsghdr, and the descriptors behind it.
        raw.storeBytes(of: 16 + descriptors.count * 4, as: Int.self)
        raw.storeBytes(of: SOL_SOCKET, toByteOffset: 8, as: Int32.self)
        raw.storeBytes(of: Int32(SCM_RIGHTS), toByteOffset: 12, as: Int32.self)
        for (index, fd) in descriptors.enumerated() {
            raw.storeBytes(of: fd, toByteOffset: 16 + index * 4, as: Int32.self)
        }
    }
    var bytes = bytes
    let sent = bytes.withUnsafeMutableBytes { payload in
        control.withUnsafeMutableBytes { control in
            var vector = iovec(iov_base: payload.baseAddress, iov_len: payload.count)
            return withUnsafeMutablePointer(to: &vector) { vector in
                var message = msghdr()
                message.msg_iov = vector
                message.msg_iovlen = 1
                if !descriptors.isEmpty {
                    message.msg_control = control.baseAddress
                    message.msg_controllen = control.count
                }
                return sendmsg(socket, &message, Int32(MSG_NOSIGNAL))
            }
        }
    }
    guard sent == bytes.count else { throw SystemError.last("sendmsg") }
}

/// A pipe whose writing ends are counted by the kernel: its reader meets the end when all of them are closed.
private struct Pipe {
    let reader: Peer
    let writer: Int32

    init() throws {
        var ends: [Int32] = [-1, -1]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
            throw SystemError.last("socketpair")
        }
        reader = Peer(fd: ends[0])
        writer = ends[1]
    }
}

@Suite("Receiving descriptors")
struct ReceivedDescriptorTests {
    private struct Fixture {
        let thread: LoopThread
        let peer: Peer
        let box: ReceiverBox
        let arrivals = Recorder<Arrival>()
        let events = Recorder<Happening>()

        init(_ mode: TransportMode) throws {
            thread = try LoopThread(mode)
            let (near, peer) = try streamPair()
            self.peer = peer
            let (arrivals, events) = (arrivals, events)
            box = try thread.on { loop in
                let receiver = Receiver(loop, fd: near, arrivals, events)
                receiver.start()
                return ReceiverBox(receiver: receiver)
            }
        }
    }

    @Test(
        "descriptors arrive with their bytes, in order, close-on-exec; bytes without any do too (netty 62)",
        arguments: TransportMode.available)
    func several(mode: TransportMode) throws {
        let fixture = try Fixture(mode)
        let files = try (0..<3).map { _ in try Pipe() }
        try fixture.peer.send("alone")
        #expect(try fixture.arrivals.next() == Arrival(bytes: Array("alone".utf8), descriptors: []))
        try send(Array("three".utf8), files.map(\.writer), on: fixture.peer.fd)
        let arrival = try fixture.arrivals.next()
        #expect(arrival.bytes == Array("three".utf8) && arrival.descriptors.count == 3 && !arrival.isTruncated)
        for (file, fd) in zip(files, arrival.descriptors) {
            #expect(socketInode(fd) == socketInode(file.writer) && fd != file.writer)
            #expect(fcntl(fd, F_GETFD) == FD_CLOEXEC)
            close(fd)
            close(file.writer)
        }
        try fixture.peer.send("after")
        #expect(try fixture.arrivals.next() == Arrival(bytes: Array("after".utf8), descriptors: []))
        try fixture.thread.join()
    }

    @Test(
        "end of file behind a message with descriptors is told once, and nothing stale comes with it (netty 62)",
        arguments: TransportMode.available)
    func endOfFile(mode: TransportMode) throws {
        let fixture = try Fixture(mode)
        let file = try Pipe()
        try send([1], [file.writer], on: fixture.peer.fd)
        fixture.peer.close()
        let arrival = try fixture.arrivals.next()
        #expect(arrival.descriptors.count == 1)
        for fd in arrival.descriptors { close(fd) }
        close(file.writer)
        try fixture.events.wait { $0 == [.inputEnded, .closed(.finished)] }
        #expect(fixture.arrivals.all.isEmpty)
        try fixture.thread.join()
    }

    @Test(
        "of more descriptors than fit the rest are dropped, which is told and counted; none leaks (netty 62)",
        arguments: TransportMode.available)
    func truncated(mode: TransportMode) throws {
        let fixture = try Fixture(mode)
        let file = try Pipe()
        try send([1], [Int32](repeating: file.writer, count: ReceivedDescriptors.countMax + 4), on: fixture.peer.fd)
        close(file.writer)
        let arrival = try fixture.arrivals.next()
        #expect(arrival.descriptors.count == ReceivedDescriptors.countMax && arrival.isTruncated)
        let receiver = fixture.box
        #expect(try fixture.thread.on { _ in receiver.receiver.messagesTruncated } == 1)
        for fd in arrival.descriptors { close(fd) }
        #expect(try file.reader.receiveToEnd() == [], "no copy is left open")
        try fixture.peer.send("on")
        #expect(try fixture.arrivals.next() == Arrival(bytes: Array("on".utf8), descriptors: []))
        try fixture.thread.join()
    }

    @Test("exactly as many as fit are not truncated", arguments: TransportMode.available)
    func full(mode: TransportMode) throws {
        let fixture = try Fixture(mode)
        let file = try Pipe()
        try send([1], [Int32](repeating: file.writer, count: ReceivedDescriptors.countMax), on: fixture.peer.fd)
        let arrival = try fixture.arrivals.next()
        #expect(arrival.descriptors.count == ReceivedDescriptors.countMax && !arrival.isTruncated)
        for fd in arrival.descriptors { close(fd) }
        close(file.writer)
        try fixture.thread.join()
    }

    @Test(
        "a receiver that does not override the callback closes what comes, and is told the bytes",
        arguments: TransportMode.available)
    func closedByDefault(mode: TransportMode) throws {
        let fixture = try Fixture(mode)
        let (near, peer) = try streamPair()
        let recorder = Recorder<Happening>()
        try fixture.thread.on { loop in
            RecordingConnection(loop, fd: near, recorder, receiving).start()
        }
        let file = try Pipe()
        try send(Array("text".utf8), [file.writer, file.writer], on: peer.fd)
        close(file.writer)
        #expect(try recorder.waitForBytes(4) == Array("text".utf8))
        #expect(try file.reader.receiveToEnd() == [], "both copies are closed")
        try fixture.thread.join()
    }

    @Test("what is not taken out is closed", arguments: TransportMode.available)
    func notTaken(mode: TransportMode) throws {
        let fixture = try Fixture(mode)
        let file = try Pipe()
        let (near, far) = try streamPair()
        try send([1], [file.writer, file.writer, file.writer], on: far.fd)
        var message = csocket_message()
        var byte: UInt8 = 0
        #expect(csocket_receive(near, &byte, 1, &message) == 0 && message.fd_count == 3)
        closeOneOf(message)
        close(near)
        close(file.writer)
        #expect(try file.reader.receiveToEnd() == [])
        try fixture.thread.join()
    }

    private func closeOneOf(_ message: csocket_message) {
        var descriptors = ReceivedDescriptors(message)
        let first = descriptors.takeFirst()
        let left = descriptors.count
        #expect(first == message.fds.0 && left == 2)
        close(message.fds.0)
    }

    @Test("while reading is paused, descriptors stay in the socket", arguments: TransportMode.available)
    func paused(mode: TransportMode) throws {
        let fixture = try Fixture(mode)
        let receiver = fixture.box
        try fixture.thread.on { _ in receiver.receiver.pauseReading() }
        let file = try Pipe()
        try send([1, 2], [file.writer], on: fixture.peer.fd)
        try fixture.thread.settle()
        #expect(fixture.arrivals.all.isEmpty && Peer.unreadBytes(receiver.receiver.fd) == 2)
        #expect(try fixture.thread.on { _ in receiver.receiver.parkedBytes } == 0)
        try fixture.thread.on { _ in receiver.receiver.resumeReading() }
        let arrival = try fixture.arrivals.next()
        #expect(arrival.bytes == [1, 2] && arrival.descriptors.count == 1)
        for fd in arrival.descriptors { close(fd) }
        close(file.writer)
        try fixture.thread.join()
    }

    @Test("pausing in the callback stops after that message", arguments: TransportMode.available)
    func pausedInCallback(mode: TransportMode) throws {
        let fixture = try Fixture(mode)
        let receiver = fixture.box
        try fixture.thread.on { _ in
            receiver.receiver.pauseReading()
            receiver.receiver.onReceived = { $0.pauseReading() }
        }
        let file = try Pipe()
        for index in 0..<3 { try send([UInt8(index)], [file.writer], on: fixture.peer.fd) }
        for index in 0..<3 {
            try fixture.thread.on { _ in receiver.receiver.resumeReading() }
            let arrival = try fixture.arrivals.next()
            #expect(arrival.bytes == [UInt8(index)] && arrival.descriptors.count == 1)
            for fd in arrival.descriptors { close(fd) }
            try fixture.thread.settle()
            #expect(fixture.arrivals.all.isEmpty)
        }
        close(file.writer)
        try fixture.thread.join()
    }

    @Test(
        "many messages with descriptors between plain bytes: every byte and every descriptor, in order",
        arguments: TransportMode.available)
    func many(mode: TransportMode) throws {
        let fixture = try Fixture(mode)
        let stream = EndlessPattern()
        let peer = fixture.peer
        let files = try (0..<5).map { _ in try Pipe() }
        let writers = files.map(\.writer)
        Thread.detachNewThread {
            var position = 0
            for index in 0..<300 {
                let piece = Array(stream.piece(at: position, count: 1 + index * 37 % 20_000))
                position += piece.count
                do {
                    if index % 3 == 0 {
                        try peer.send(piece)
                    } else {
                        try send(piece, [writers[index % 5]], on: peer.fd)
                    }
                } catch {
                    Issue.record(error)
                }
            }
            peer.finishOutput()
        }
        let expected = (0..<300).filter { $0 % 3 != 0 }.map { socketInode(writers[$0 % 5]) }
        var inodes: [UInt64] = []
        var bytes: [UInt8] = []
        try fixture.events.wait { $0.contains(.inputEnded) }
        for arrival in fixture.arrivals.all {
            bytes += arrival.bytes
            for fd in arrival.descriptors {
                inodes.append(socketInode(fd))
                close(fd)
            }
        }
        for writer in writers { close(writer) }
        #expect(inodes == expected)
        #expect(bytes.count == (0..<300).reduce(0) { $0 + 1 + $1 * 37 % 20_000 })
        #expect(stream.piece(at: 0, count: 1).first == bytes.first && isExact(bytes, stream))
        try fixture.thread.join()
    }

    private func isExact(_ bytes: [UInt8], _ stream: EndlessPattern) -> Bool {
        stride(from: 0, to: bytes.count, by: EndlessPattern.pieceMax).allSatisfy { start in
            stream.matches(Array(bytes[start..<min(bytes.count, start + EndlessPattern.pieceMax)]), at: start)
        }
    }

    @Test(
        "a detached receiver leaves messages in the socket, for the next owner to receive with their descriptors",
        arguments: TransportMode.available)
    func detached(mode: TransportMode) throws {
        let fixture = try Fixture(mode)
        let handed = Recorder<Handed>()
        let receiver = fixture.box
        let file = try Pipe()
        let peer = fixture.peer
        try fixture.thread.on { _ in
            #expect(receiver.receiver.detach { detached in handed.record(Handed(detached)) })
            do { try send([1, 2, 3], [file.writer], on: peer.fd) } catch { Issue.record(error) }
        }
        let left = try handed.next()
        #expect(left.remainder == ConnectionRemainder.none && fixture.arrivals.all.isEmpty)
        let (arrivals, events) = (fixture.arrivals, fixture.events)
        let early = try #require(ConnectionRemainder(unread: [0]))
        fixture.thread.remote.adopt(DetachedConnection(fd: left.fd, remainder: early)) { loop, detached in
            Receiver(loop, detached, arrivals, events).start()
        }
        #expect(
            try fixture.arrivals.next() == Arrival(bytes: [0], descriptors: []), "what was unread, in the same callback"
        )
        let arrival = try fixture.arrivals.next()
        #expect(arrival.bytes == [1, 2, 3] && arrival.descriptors.count == 1)
        for fd in arrival.descriptors { close(fd) }
        close(file.writer)
        try fixture.thread.join()
    }

    @Test(
        "with a full descriptor table the bytes arrive without descriptors, and that they are missing is told",
        arguments: TransportMode.available)
    func tableFull(mode: TransportMode) async {
        await #expect(processExitsWith: .success) { [mode] in
            let fixture = try Fixture(mode)
            let sent = [fixture.peer.fd, fixture.peer.fd]
            try send([1], sent, on: fixture.peer.fd)
            #expect(try fixture.arrivals.next().descriptors.count == 2)
            let table = FullTable()
            try send([2], sent, on: fixture.peer.fd)
            #expect(try fixture.arrivals.next() == Arrival(bytes: [2], descriptors: [], isTruncated: true))
            table.release()
            try fixture.thread.join()
        }
    }
}
