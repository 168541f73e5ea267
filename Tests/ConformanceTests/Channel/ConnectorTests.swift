import Foundation
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Connector")
struct ConnectorTests {
    typealias Outcome = Result<Int32, ConnectError>

    /// Starts to connect on the thread's loop; each outcome is recorded.
    private func connect(
        _ thread: LoopThread, _ address: SocketAddress, timeout: Duration = .seconds(10),
        then: @escaping @Sendable (Connector?) -> Void = { _ in }
    ) throws -> Recorder<Outcome> {
        let outcomes = Recorder<Outcome>()
        try thread.on { loop in
            let connector = Connector.connect(loop, to: address, timeout: timeout) { outcomes.record($0) }
            #expect(outcomes.all.isEmpty, "called from within connect()")
            then(connector)
        }
        return outcomes
    }

    /// An address that answers nothing: a listener whose queue is full.
    private final class FullListener {
        let address: SocketAddress
        private let fd: Int32
        private var clients: [Int32] = []

        init(_ family: AddressFamily) throws {
            fd = try Socket.listen(family.address, backlog: 0)
            address = try #require(Socket.localAddress(of: fd))
            while clients.count < 16 {
                let client = socket(
                    address.family,
                    Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
                clients.append(client)
                _ = address.withSockaddr { Glibc.connect(client, $0, $1) }
                var entry = pollfd(fd: client, events: Int16(POLLOUT), revents: 0)
                // A TCP connection that is not made at once on loopback is one that the full queue has dropped.
                if errno == EAGAIN || poll(&entry, 1, 50) == 0 { return }
            }
        }

        deinit {
            for client in clients { close(client) }
            close(fd)
            if case .unix(let path) = address { unlink(path) }
        }
    }

    @Test(
        "connects, and the socket is the caller's: connected, close-on-exec, in blocking mode, with its addresses (netty 27, 32)",
        arguments: across(TransportMode.available, TransportMode.available, AddressFamily.allCases))
    func connects(serverMode: TransportMode, mode: TransportMode, family: AddressFamily) throws {
        let server = try TestServer(serverMode, family.address, setUp: RecordingConnection.echo)
        let clients = try LoopThread(mode)
        let fd = try connect(clients, server.address).next().get()
        let peer = Peer(fd: fd)
        #expect(fcntl(fd, F_GETFD) & FD_CLOEXEC != 0 && fcntl(fd, F_GETFL) & O_NONBLOCK == 0)
        #expect(Socket.peerAddress(of: fd) == server.address)
        if let local = Socket.localAddress(of: fd), let port = local.port {
            #expect(port > 0 && local.withPort(0) == server.address.withPort(0))
            #expect(try server.first { $0.peerAddress } == local)
            #expect(try server.first { $0.localAddress } == server.address)
        }
        try peer.send("hello")
        #expect(try peer.receive(exactly: 5) == Array("hello".utf8))
        try clients.join()
        try server.join()
    }

    @Test(
        "an IPv4 client of a listener on all IPv6 addresses is seen as a mapped address (netty 32)",
        arguments: TransportMode.available)
    func mappedAddress(mode: TransportMode) throws {
        let server = try TestServer(mode, .ipv6(high: 0, low: 0, port: 0, scope: 0))
        let port = try #require(server.address.port)
        let peer = try Peer(connectingTo: .ipv4(0x7f00_0001, port: port))
        let local = try #require(Socket.localAddress(of: peer.fd)?.port)
        #expect(try server.first { $0.peerAddress } == .ipv6(high: 0, low: 0xffff_7f00_0001, port: local, scope: 0))
        try server.join()
    }

    @Test(
        "what is written to the new connection from the completion is sent at once", arguments: TransportMode.available,
        TransportMode.available)
    func writeFromCompletion(serverMode: TransportMode, mode: TransportMode) throws {
        let server = try TestServer(serverMode)
        let clients = try LoopThread(mode)
        let recorder = Recorder<Happening>()
        try clients.on { loop in
            _ = Connector.connect(loop, to: server.address, timeout: .seconds(10)) { outcome in
                guard case .success(let fd) = outcome else { return }
                let connection = RecordingConnection(loop, fd: fd, recorder)
                connection.start()
                connection.write("first words")
            }
        }
        #expect(try server.recorder.waitForBytes(11) == Array("first words".utf8))
        try clients.join()
        try server.join()
    }

    @Test(
        "connected and closed in the completion: the server sees both, once each and in that order (netty 28)",
        arguments: TransportMode.available)
    func connectAndClose(mode: TransportMode) throws {
        let server = try TestServer(mode)
        for round in 1...20 {
            let outcomes = try connect(server.thread, server.address)
            close(try outcomes.next().get())
            try server.recorder.wait { $0.count == 2 * round }
        }
        let pair: [Happening] = [.inputEnded, .closed(.finished)]
        #expect(server.recorder.all == (0..<20).flatMap { _ in pair })
        try server.join()
    }

    @Test(
        "refused is an error at once, never a connection (netty 30)", arguments: TransportMode.available,
        AddressFamily.allCases)
    func refused(mode: TransportMode, family: AddressFamily) throws {
        let thread = try LoopThread(mode)
        // Bound and not listening: nobody else can listen there meanwhile.
        let fd = try Socket.stream(family.address.family)
        defer { close(fd) }
        #expect(family.address.withSockaddr { bind(fd, $0, $1) } == 0)
        let address = try #require(Socket.localAddress(of: fd))
        let outcomes = try connect(thread, address)
        #expect(try outcomes.next() == .failure(.failed(SystemError("connect", code: ECONNREFUSED))))
        #expect(try thread.on { $0.channelCount } == 0)
        try thread.join()
        #expect(outcomes.all.isEmpty)
        if case .unix(let path) = address { unlink(path) }
    }

    @Test(
        "refused over and over, the descriptor's number being reused, each attempt fails by itself and the last succeeds (netty 70)",
        arguments: TransportMode.available, [AddressFamily.ipv4, .ipv6])
    func refusedOften(mode: TransportMode, family: AddressFamily) throws {
        let thread = try LoopThread(mode)
        // Bound and not yet listening.
        let fd = try Socket.stream(family.address.family)
        #expect(family.address.withSockaddr { bind(fd, $0, $1) } == 0)
        let address = try #require(Socket.localAddress(of: fd))
        for _ in 0..<100 {
            let outcome = try connect(thread, address).next()
            #expect(outcome == .failure(.failed(SystemError("connect", code: ECONNREFUSED))))
        }
        #expect(listen(fd, 8) == 0)
        close(try connect(thread, address).next().get())
        close(fd)
        #expect(try thread.on { $0.channelCount } == 0)
        try thread.join()
    }

    @Test("a Unix-domain path that is not there is ENOENT", arguments: TransportMode.available)
    func missingPath(mode: TransportMode) throws {
        let thread = try LoopThread(mode)
        let outcomes = try connect(thread, .temporaryUnix())
        #expect(try outcomes.next() == .failure(.failed(SystemError("connect", code: ENOENT))))
        try thread.join()
    }

    @Test(
        "without an answer the timeout ends it, not before its time (netty 30)", arguments: TransportMode.available,
        AddressFamily.allCases)
    func timesOut(mode: TransportMode, family: AddressFamily) throws {
        let full = try FullListener(family)
        let thread = try LoopThread(mode)
        let start = MonotonicTime.now
        let outcomes = try connect(thread, full.address, timeout: .milliseconds(150))
        #expect(try outcomes.next() == .failure(.timedOut))
        #expect(MonotonicTime.now - start >= .milliseconds(150))
        #expect(try thread.on { $0.channelCount } == 0)
        try thread.join()
    }

    @Test(
        "cancel() ends a pending attempt, once (netty 30)", arguments: TransportMode.available, AddressFamily.allCases)
    func cancelled(mode: TransportMode, family: AddressFamily) throws {
        let full = try FullListener(family)
        let thread = try LoopThread(mode)
        let outcomes = try connect(thread, full.address) { connector in
            connector?.cancel()
            connector?.cancel()
        }
        #expect(try outcomes.next() == .failure(.cancelled))
        try thread.settle()
        #expect(outcomes.all.isEmpty)
        try thread.join()
    }

    @Test(
        "a loop that stops cancels what is pending, those started by its last tasks too",
        arguments: TransportMode.available, AddressFamily.allCases)
    func stopped(mode: TransportMode, family: AddressFamily) throws {
        let full = try FullListener(family)
        let thread = try LoopThread(mode)
        let outcomes = try connect(thread, full.address)
        try thread.join()
        #expect(try outcomes.next() == .failure(.cancelled))
    }

    @Test(
        "an address that no connection can be made to fails with the kernel's reason, from the loop",
        arguments: TransportMode.available)
    func impossibleAddress(mode: TransportMode) throws {
        let thread = try LoopThread(mode)
        let broadcast = SocketAddress.ipv4(0xffff_ffff, port: 9)
        guard case .failure(.failed(let error)) = try connect(thread, broadcast, timeout: .seconds(5)).next() else {
            Issue.record("connected to the broadcast address")
            return
        }
        #expect(error.call == "connect" && [EACCES, ENETUNREACH].contains(error.code))
        try thread.join()
    }

    @Test(
        "200 connections are made at once, each to its own peer (netty 34)", arguments: TransportMode.available,
        TransportMode.available)
    func many(serverMode: TransportMode, mode: TransportMode) throws {
        let server = try TestServer(serverMode, setUp: RecordingConnection.echo)
        let clients = try LoopThread(mode)
        let recorders = (0..<200).map { _ in Recorder<Happening>() }
        try clients.on { loop in
            for (index, recorder) in recorders.enumerated() {
                Connector.connect(loop, to: server.address, timeout: .seconds(20)) { outcome in
                    guard case .success(let fd) = outcome else { return }
                    let connection = RecordingConnection(loop, fd: fd, recorder)
                    connection.start()
                    connection.write("I am \(index)")
                    connection.finishOutput()
                }
            }
        }
        for (index, recorder) in recorders.enumerated() {
            #expect(try recorder.waitForEnd() == .finished)
            #expect(recorder.bytes == Array("I am \(index)".utf8))
        }
        #expect(try clients.on { $0.channelCount } == 0)
        try clients.join()
        try server.join()
    }

    // MARK: With a socket of the caller's

    @Test(
        "a socket that the caller has set up is the one that is connected",
        arguments: TransportMode.available, AddressFamily.allCases)
    func ownSocket(mode: TransportMode, family: AddressFamily) throws {
        let server = try TestServer(mode, family.address, setUp: RecordingConnection.echo)
        let clients = try LoopThread(mode)
        let fd = try Socket.stream(server.address.family)
        if family == .ipv4 { try Socket.bind(fd, to: .anyLoopback) }
        _ = Socket.set(fd, SOL_SOCKET, SO_KEEPALIVE, 1)
        let local = Socket.localAddress(of: fd)
        let outcomes = try connect(clients, socket: fd, to: server.address)
        let connected = try outcomes.next().get()
        #expect(connected.fd == fd && connected.fastOpenBytesTaken == 0)
        let peer = Peer(fd: fd)
        if family == .ipv4 { #expect(try server.first { $0.peerAddress } == local) }
        var (value, length) = (Int32(0), socklen_t(4))
        getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, &length)
        #expect(value == 1)
        try peer.send("hello")
        #expect(try peer.receive(exactly: 5) == Array("hello".utf8))
        try clients.join()
        try server.join()
    }

    @Test(
        "of a failure it is told once, and the caller's socket is closed", arguments: TransportMode.available,
        [0, 1, 2, 3])
    func ownSocketFails(mode: TransportMode, cause: Int) throws {
        let full = try FullListener(.ipv4)
        let clients = try LoopThread(mode)
        let nobody = try Socket.listen(.anyLoopback, backlog: 1)
        let refusing = try #require(Socket.localAddress(of: nobody))
        close(nobody)
        let address =
            switch cause {
            case 0: refusing
            case 1: SocketAddress.unix(path: String(repeating: "x", count: 200))
            default: full.address
            }
        let fd = try Socket.stream(cause == 1 ? AF_UNIX : AF_INET)
        let inode = socketInode(fd)
        let outcomes = try connect(
            clients, socket: fd, to: address, timeout: cause == 2 ? .milliseconds(20) : .seconds(10)
        ) {
            if cause == 3 { $0?.cancel() }
        }
        guard case .failure(let error) = try outcomes.next() else {
            Issue.record("it has connected")
            return
        }
        switch (cause, error) {
        case (0, .failed(let error)): #expect(error.code == ECONNREFUSED)
        case (1, .failed), (2, .timedOut), (3, .cancelled): break
        default: Issue.record("\(error)")
        }
        #expect(try !isOpen(inode: inode))
        try clients.settle()
        #expect(outcomes.all.isEmpty)
        try clients.join()
    }

    private func connect(
        _ thread: LoopThread, socket fd: Int32, to address: SocketAddress, timeout: Duration = .seconds(10),
        then: @escaping @Sendable (Connector?) -> Void = { _ in }
    ) throws -> Recorder<Result<ConnectedSocket, ConnectError>> {
        let outcomes = Recorder<Result<ConnectedSocket, ConnectError>>()
        try thread.on { loop in
            let connector = Connector.connect(loop, socket: fd, to: address, timeout: timeout) { outcomes.record($0) }
            #expect(outcomes.all.isEmpty, "called from within connect()")
            then(connector)
        }
        return outcomes
    }
}
