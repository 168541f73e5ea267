import Foundation
import Synchronization
import Testing

@testable import Transport
@testable import TransportTesting

/// Where the echoes of a test are, and how they got there.
private final class Journey: Sendable {
    let remotes: [EventLoopRemote]
    let moves = Atomic<Int>(0)
    let movesWithUnread = Atomic<Int>(0)
    let movesWithUnsent = Atomic<Int>(0)
    let closed = Recorder<CloseReason>()

    init(_ threads: [LoopThread]) { remotes = threads.map(\.remote) }

    func note(_ remainder: ConnectionRemainder) {
        moves.add(1, ordering: .relaxed)
        if !remainder.unread.isEmpty { movesWithUnread.add(1, ordering: .relaxed) }
        if !remainder.unsent.isEmpty { movesWithUnsent.add(1, ordering: .relaxed) }
    }
}

/// Echoes, and goes to the other loop every few bytes, in whatever state it is.
private final class WanderingEcho: Connection {
    private let journey: Journey
    private let place: Int
    private let seed: UInt64
    private var bytesToMove: Int

    private static func stay(_ seed: UInt64) -> Int {
        var generator = SeededGenerator(seed: seed)
        return Int.random(in: 1...150_000, using: &generator)
    }

    init(
        _ loop: EventLoop, _ detached: consuming DetachedConnection, _ configuration: ConnectionConfiguration,
        _ journey: Journey, place: Int, seed: UInt64
    ) {
        self.journey = journey
        self.place = place
        self.seed = seed
        bytesToMove = Self.stay(seed)
        super.init(loop, detached, configuration: configuration)
    }

    override func received(_ bytes: RawSpan) {
        write(bytes)
        if !isWritable { pauseReading() }
        bytesToMove -= bytes.byteCount
        if bytesToMove <= 0 { move() }
    }

    override func becameWritable() { resumeReading() }

    override func closed(_ reason: CloseReason) { journey.closed.record(reason) }

    private func move() {
        let next = (place + 1) % journey.remotes.count
        let (journey, seed, configuration) = (journey, seed, configuration)
        detach { detached in
            journey.note(detached.remainder)
            journey.remotes[next].adopt(detached) { loop, detached in
                let echo = WanderingEcho(loop, detached, configuration, journey, place: next, seed: seed &+ 1)
                echo.start(reading: echo.isWritable)
            }
        }
    }
}

@Suite("Moving connections between loops", .serialized)
struct MovingTests {
    private static let movesMin = 200
    private static let connectionCount = 4

    @Test(
        "hundreds of moves under traffic in both directions lose, repeat and reorder no byte (netty table 4 row 20)",
        arguments: across(TransportMode.available, TransportMode.available, AddressFamily.allCases))
    func wandering(mode: TransportMode, otherMode: TransportMode, family: AddressFamily) throws {
        let threads = [try LoopThread(mode), try LoopThread(otherMode)]
        let journey = Journey(threads)
        let results = Recorder<Int>()
        for index in 0..<Self.connectionCount {
            let (near, peer) = try connect(family)
            let remainder = ConnectionRemainder.none
            var limits = ConnectionConfiguration()
            if index % 2 == 1 { limits.zeroCopyThreshold = 4096 }
            let configuration = limits
            journey.remotes[0].adopt(DetachedConnection(fd: near, remainder: remainder)) { loop, detached in
                WanderingEcho(loop, detached, configuration, journey, place: 0, seed: UInt64(index) << 32).start()
            }
            drive(peer, journey, seed: UInt64(index + 1), results)
        }
        // Long after the senders' own deadline: small buffers on a busy machine empty by the kernel's probes, seconds apart.
        let counts = try results.wait(within: 180) { $0.count == Self.connectionCount }
        #expect(counts.allSatisfy { $0 > 0 }, "a stream was damaged: \(counts)")
        try journey.closed.wait { $0 == [CloseReason](repeating: .finished, count: Self.connectionCount) }
        #expect(journey.moves.load(ordering: .relaxed) >= Self.movesMin)
        #expect(journey.movesWithUnsent.load(ordering: .relaxed) > 0, "the case was not reached")
        if family != .unix { #expect(journey.movesWithUnread.load(ordering: .relaxed) > 0, "the case was not reached") }
        for thread in threads { try thread.join() }
    }

    /// A connected pair with small buffers, so that sends are often short.
    private func connect(_ family: AddressFamily) throws -> (near: Int32, peer: Peer) {
        let listener = try Socket.listen(family.address, backlog: 8)
        defer { close(listener) }
        let peer = try Peer(connectingTo: try #require(Socket.localAddress(of: listener)), receiveBuffer: 32_768)
        let near = accept(listener, nil, nil)
        _ = fcntl(near, F_SETFD, FD_CLOEXEC)
        _ = Socket.set(near, SOL_SOCKET, SO_SNDBUF, 32_768)
        return (near, peer)
    }

    /// Sends until there have been moves enough, and checks what comes back: records how much, or -1.
    private func drive(_ peer: Peer, _ journey: Journey, seed: UInt64, _ results: Recorder<Int>) {
        let stream = EndlessPattern(seed: seed)
        let sentTotal = Recorder<Int>()
        Thread.detachNewThread {
            var sent = 0
            let deadline = Date(timeIntervalSinceNow: 50)
            do {
                // Something in any case: the others may have moved often enough before this thread begins.
                repeat {
                    try peer.send(Array(stream.piece(at: sent, count: 30_000)))
                    sent += 30_000
                } while journey.moves.load(ordering: .relaxed) < Self.movesMin && Date() < deadline
            } catch {
                sent = -1
            }
            peer.finishOutput()
            sentTotal.record(sent)
        }
        Thread.detachNewThread {
            var received = 0
            var isExact = true
            while let part = try? peer.receive(), !part.isEmpty {
                isExact = isExact && stream.matches(part, at: received)
                received += part.count
            }
            let sent = try? sentTotal.next()
            results.record(isExact && sent == received ? received : -1)
        }
    }

    @Test("a moved connection keeps its socket, and its peer notices nothing", arguments: TransportMode.available)
    func keepsSocket(mode: TransportMode) throws {
        let server = try TestServer(mode)
        let other = try LoopThread(mode)
        let peer = try Peer(connectingTo: server.address)
        try peer.send("before")
        _ = try server.recorder.waitForBytes(6)
        let inode = try server.firstInode()
        let recorder = Recorder<Happening>()
        let boxes = Recorder<ConnectionBox>()
        let remote = other.remote
        try server.first { connection in
            let isDetaching = connection.detach { detached in
                remote.adopt(detached) { loop, detached in
                    let moved = RecordingConnection(loop, detached, recorder)
                    moved.start()
                    boxes.record(ConnectionBox(moved))
                }
            }
            #expect(isDetaching)
        }
        let box = try boxes.next()
        #expect(try other.on { _ in socketInode(box.connection.fd) } == inode)
        try server.thread.settle()
        #expect(server.recorder.events.isEmpty, "the former owner is told nothing")
        #expect(try server.thread.on { $0.channelCount } == 1, "the listener")
        try peer.send("after")
        #expect(try recorder.waitForBytes(5) == Array("after".utf8))
        #expect(try other.on { _ in box.connection.write("reply") })
        #expect(try peer.receive(exactly: 5) == Array("reply".utf8))
        peer.close()
        try recorder.waitForEnd()
        try other.join()
        try server.join()
    }

    @Test("a connection is not detached before its start, nor once it is closing", arguments: TransportMode.available)
    func refused(mode: TransportMode) throws {
        let thread = try LoopThread(mode)
        let (fd, peer) = try streamPair()
        let recorder = Recorder<Happening>()
        try thread.on { loop in
            let connection = RecordingConnection(loop, fd: fd, recorder)
            #expect(!connection.detach { _ in Issue.record("not started") })
            connection.start()
            connection.close()
            #expect(!connection.detach { _ in Issue.record("closing") })
        }
        #expect(try recorder.waitForEnd() == .closed)
        #expect(try peer.receiveToEnd() == [])
        try thread.join()
    }
}
