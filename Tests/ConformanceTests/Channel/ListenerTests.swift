import Foundation
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Listener")
struct ListenerTests {
    /// A listener on a loop of its own; what it accepts is recorded and kept open until the test is over.
    private final class Listening: Sendable {
        let thread: LoopThread
        let address: SocketAddress
        let accepted = Recorder<Peer>()
        private let box: ListenerBox

        convenience init(
            _ mode: TransportMode, _ address: SocketAddress = .anyLoopback, accepting: Bool = true,
            onAccept: @escaping @Sendable (Listener) -> Void = { _ in }
        ) throws {
            var configuration = ListenerConfiguration()
            configuration.backlog = 1024
            // For `holdPort`.
            if address.family != AF_UNIX { configuration.reusePort = true }
            try self.init(
                mode, owning: Socket.listen(address, configuration), accepting: accepting, onAccept: onAccept)
        }

        init(
            _ mode: TransportMode, owning fd: Int32, accepting: Bool = true,
            onAccept: @escaping @Sendable (Listener) -> Void = { _ in }
        ) throws {
            self.address = try #require(Socket.localAddress(of: fd))
            thread = try LoopThread(mode)
            let accepted = accepted
            box = try thread.on { loop in
                let box = ListenerBox()
                let listener = Listener(loop, fd: fd) { [unowned box] fd in
                    accepted.record(Peer(fd: fd))
                    onAccept(box.listener)
                }
                box.listener = listener
                if accepting { listener.resume() }
                return box
            }
        }

        func on<Value: Sendable>(_ body: @escaping @Sendable (Listener) -> Value) throws -> Value {
            try thread.on { [box] _ in body(box.listener) }
        }

        /// A socket that is bound to the port as well and does not listen: while it is open, the port is no other test's.
        func holdPort() throws -> Peer? {
            guard address.family != AF_UNIX else { return nil }
            let holder = Peer(fd: try Socket.stream(address.family))
            try Socket.set(.reusePort, true, of: holder.fd)
            try Socket.bind(holder.fd, to: address)
            return holder
        }

        /// Asks for the drain; the recorder tells when it is over.
        func drain() throws -> Recorder<Int> {
            let drained = Recorder<Int>()
            let accepted = accepted
            try on { listener in listener.drainAndClose { drained.record(accepted.all.count) } }
            return drained
        }
    }

    /// Carries a listener between threads.
    // Sendable: the listener inside is touched on its loop's thread only.
    private final class ListenerBox: @unchecked Sendable {
        var listener: Listener!
    }

    private func connect(_ count: Int, to address: SocketAddress) throws -> [Peer] {
        try (0..<count).map { _ in try Peer(connectingTo: address) }
    }

    @Test(
        "every client is accepted once, with its address, close-on-exec and in blocking mode (netty 32)",
        arguments: TransportMode.available,
        AddressFamily.allCases)
    func accepts(mode: TransportMode, family: AddressFamily) throws {
        let listening = try Listening(mode, family.address)
        let clients = try connect(100, to: listening.address)
        let accepted = try listening.accepted.wait { $0.count == 100 }
        for peer in accepted {
            #expect(fcntl(peer.fd, F_GETFD) & FD_CLOEXEC != 0 && fcntl(peer.fd, F_GETFL) & O_NONBLOCK == 0)
        }
        #expect(try listening.on { $0.acceptedCount } == 100)
        if family != .unix {
            let theirs = Set(clients.map { Socket.localAddress(of: $0.fd) })
            #expect(Set(accepted.map { Socket.peerAddress(of: $0.fd) }) == theirs)
        }
        try listening.thread.join()
    }

    @Test(
        "paused from the start, clients wait in the backlog; resuming accepts them all (netty 33, 38)",
        arguments: TransportMode.available, AddressFamily.allCases)
    func startsPaused(mode: TransportMode, family: AddressFamily) throws {
        let listening = try Listening(mode, family.address, accepting: false)
        let clients = try connect(50, to: listening.address)
        try listening.thread.settle()
        #expect(listening.accepted.all.isEmpty)
        #expect(try !listening.on { $0.isAccepting })
        try listening.on { $0.resume() }
        try listening.accepted.wait { $0.count == 50 }
        withExtendedLifetime(clients) {}
        try listening.thread.join()
    }

    @Test(
        "paused while accepting, no further client is accepted until it resumes (netty 33)",
        arguments: TransportMode.available)
    func pausedLater(mode: TransportMode) throws {
        let listening = try Listening(mode)
        let first = try connect(1, to: listening.address)
        try listening.accepted.wait { $0.count == 1 }
        for round in 1...20 {
            try listening.on { $0.pause() }
            try listening.thread.settle()
            let client = try connect(1, to: listening.address)
            try listening.thread.settle()
            #expect(listening.accepted.all.count == round)
            try listening.on { $0.resume() }
            try listening.accepted.wait { $0.count == round + 1 }
            withExtendedLifetime(client) {}
        }
        withExtendedLifetime(first) {}
        try listening.thread.join()
    }

    @Test(
        "paused and resumed in quick succession, in one turn and over several, the last word holds",
        arguments: TransportMode.available)
    func storm(mode: TransportMode) throws {
        let listening = try Listening(mode)
        var clients: [Peer] = []
        var generator = SeededGenerator(seed: 5)
        for _ in 0..<200 {
            let calls = (0..<Int.random(in: 1...6, using: &generator)).map { _ in Bool.random(using: &generator) }
            try listening.on { listener in
                for isResumed in calls { isResumed ? listener.resume() : listener.pause() }
            }
            if Bool.random(using: &generator) { clients += try connect(1, to: listening.address) }
        }
        // Pausing, resuming and pausing with turns between: each cancellation is still on its way at the next word.
        for _ in 0..<50 {
            try listening.on { $0.resume() }
            try listening.on { $0.pause() }
            try listening.on { listener in
                listener.resume()
                listener.pause()
            }
            try listening.thread.settle()
            let count = listening.accepted.all.count
            clients += try connect(1, to: listening.address)
            try listening.thread.settle()
            #expect(listening.accepted.all.count == count, "accepted while paused")
        }
        try listening.on { $0.resume() }
        try listening.accepted.wait { $0.count == clients.count }
        try listening.thread.join()
    }

    @Test(
        "pausing in accepted() leaves the rest of the queue for later; nothing accepted is lost",
        arguments: TransportMode.available)
    func pausedInside(mode: TransportMode) throws {
        let listening = try Listening(mode, accepting: false) { $0.pause() }
        let clients = try connect(50, to: listening.address)
        var resumptions = 0
        while listening.accepted.all.count < 50 {
            resumptions += 1
            try #require(resumptions <= 50)
            let before = listening.accepted.all.count
            try listening.on { $0.resume() }
            try listening.accepted.wait { $0.count > before }
            try listening.thread.settle()
        }
        #expect(try listening.on { $0.acceptedCount } == 50)
        withExtendedLifetime(clients) {}
        try listening.thread.join()
    }

    @Test(
        "a drain hands over all that is queued before it closes, and then clients are refused",
        arguments: across(TransportMode.available, AddressFamily.allCases, [true, false]))
    func drain(mode: TransportMode, family: AddressFamily, isPaused: Bool) throws {
        let listening = try Listening(mode, family.address, accepting: !isPaused)
        let clients = try connect(50, to: listening.address)
        let holder = try listening.holdPort()
        #expect(try listening.drain().next() == 50)
        #expect(listening.accepted.all.count == 50)
        let error = family == .unix ? ENOENT : ECONNREFUSED
        #expect(throws: SystemError("connect", code: error)) { try connect(1, to: listening.address) }
        for (index, peer) in clients.enumerated() { try peer.send("\(index)\n") }
        for peer in listening.accepted.all { #expect(try !peer.receive().isEmpty) }
        #expect(try listening.thread.on { $0.channelCount } == 0)
        withExtendedLifetime(holder) {}
        try listening.thread.join()
    }

    @Test(
        "clients that come while the accept is being cancelled are handed over by the drain",
        arguments: TransportMode.available)
    func comeDuringDrain(mode: TransportMode) throws {
        let listening = try Listening(mode)
        let clients = Recorder<[Peer]>()
        let drained = Recorder<Int>()
        let (accepted, address) = (listening.accepted, listening.address)
        try listening.on { listener in
            listener.drainAndClose { drained.record(accepted.all.count) }
            clients.record((0..<20).compactMap { _ in try? Peer(connectingTo: address) })
        }
        #expect(try drained.next() == 20)
        #expect(try clients.next().count == 20)
        try listening.thread.join()
    }

    @Test("a drain asked for in accepted() hands over the rest, once", arguments: TransportMode.available)
    func drainInside(mode: TransportMode) throws {
        let drained = Recorder<Bool>()
        let listening = try Listening(mode, accepting: false) { listener in
            listener.drainAndClose { drained.record(true) }
            listener.drainAndClose { drained.record(false) }
        }
        let clients = try connect(20, to: listening.address)
        try listening.on { $0.resume() }
        #expect(try drained.next())
        #expect(listening.accepted.all.count == 20)
        try listening.thread.settle()
        #expect(drained.all == [])
        withExtendedLifetime(clients) {}
        try listening.thread.join()
    }

    @Test("a client that has gone before it is accepted harms nobody behind it", arguments: TransportMode.available)
    func goneClient(mode: TransportMode) throws {
        let listening = try Listening(mode, accepting: false)
        for _ in 0..<10 { try Peer(connectingTo: listening.address).reset() }
        let client = try Peer(connectingTo: listening.address)
        try listening.on { $0.resume() }
        let local = Socket.localAddress(of: client.fd)
        try listening.accepted.wait { $0.contains { Socket.peerAddress(of: $0.fd) == local } }
        try listening.thread.join()
    }

    @Test(
        "the path of a Unix-domain listener is there while it is open, and gone when it is closed",
        arguments: TransportMode.available)
    func unixPath(mode: TransportMode) throws {
        let listening = try Listening(mode, .temporaryUnix())
        guard case .unix(let path) = listening.address else { return }
        #expect(access(path, F_OK) == 0)
        try listening.thread.join()
        #expect(access(path, F_OK) != 0)
    }

    @Test("an abstract Unix-domain address accepts, and has no path to remove", arguments: TransportMode.available)
    func abstractAddress(mode: TransportMode) throws {
        let address = SocketAddress.unix(path: "@ringmaster-listener-\(getpid())-\(mode)")
        let listening = try Listening(mode, address)
        #expect(try listening.on { $0.localAddress } == address)
        let client = try connect(1, to: address)
        try listening.accepted.wait { $0.count == 1 }
        withExtendedLifetime(client) {}
        try listening.thread.join()
    }

    @Test(
        "an address in use and a path that exists are EADDRINUSE from bind", arguments: TransportMode.available,
        AddressFamily.allCases)
    func inUse(mode: TransportMode, family: AddressFamily) throws {
        let listening = try Listening(mode, family.address)
        #expect(throws: SystemError("bind", code: EADDRINUSE)) { try Socket.listen(listening.address, backlog: 1) }
        try listening.thread.join()
    }

    @Test(
        "a listener that is given up hands over what it had accepted; its queue and its path stay for the next owner",
        arguments: TransportMode.available)
    func givenUp(mode: TransportMode) throws {
        let path = "/tmp/ringmaster-given-up-\(UUID().uuidString.prefix(8)).sock"
        defer { unlink(path) }
        let first = try Listening(mode, .unix(path: path))
        let clients = try connect(20, to: first.address)
        let given = Recorder<Int32>()
        try first.on { listener in listener.detach { given.record($0) } }
        let fd = try given.wait { $0.count == 1 }[0]
        let acceptedByFirst = first.accepted.all.count
        try first.thread.join()

        let later = try connect(5, to: first.address)
        let second = try Listening(mode, owning: fd)
        try second.accepted.wait { $0.count == 25 - acceptedByFirst }
        #expect(first.accepted.all.count == acceptedByFirst)
        withExtendedLifetime((clients, later)) {}
        try second.thread.join()
        #expect(access(path, F_OK) != 0)
    }

    @Test(
        "a Unix-domain path stays if it is not the listener's to remove", arguments: TransportMode.available,
        [true, false])
    func keepsPath(mode: TransportMode, removes: Bool) throws {
        let thread = try LoopThread(mode)
        let address = SocketAddress.temporaryUnix()
        guard case .unix(let path) = address else { return }
        let fd = try Socket.listen(address, backlog: 1)
        let closed = Recorder<Bool>()
        try thread.on { loop in
            Listener(loop, fd: fd, removesPath: removes) { close($0) }.drainAndClose { closed.record(true) }
        }
        #expect(try closed.next())
        #expect((access(path, F_OK) != 0) == removes)
        unlink(path)
        try thread.join()
    }
}
