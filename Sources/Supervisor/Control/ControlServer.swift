import CSocket
import Glibc
import Transport

/// The supervisor's control socket: takes requests from its own user and from root, and brings them their answers.
///
/// Each client sends one line and gets one line. Loop thread only; needs no receive buffers.
public final class ControlServer {
    private let loop: EventLoop
    private let socket: ControlSocket
    private let handler: (ControlRequest, CommandID) -> Void
    private var watch: ReadinessWatch?
    /// Accepting rests for a moment when the process has no descriptor left.
    private var timer: LoopTimer?
    private var clients: [ControlConversation] = []
    private var lastCommand: UInt32 = 0
    private let user = geteuid()
    /// With clients that come from now on.
    var patience = ControlConversation.Patience()

    /// Clients at once. One more is told so.
    public static let clientsMax = 16
    /// Connections taken in one turn of the loop, so that nobody who connects without end can keep it from other work.
    private static let acceptedPerTurnMax = 32
    private static let exhaustedPause: Duration = .milliseconds(100)

    /// Listens at `path`, which nobody but this user and root can connect to from the first moment on. A socket that a
    /// crashed supervisor has left there is replaced.
    ///
    /// - Parameter handler: performs a request, and sooner or later calls ``answer(_:_:)`` with the same id.
    /// - Throws: a sentence, when a running supervisor listens there, something else has that name, or the kernel refuses.
    public convenience init(
        _ loop: EventLoop, path: String, handler: @escaping (ControlRequest, CommandID) -> Void
    ) throws(ControlSocketError) {
        self.init(loop, try ControlSocket.listen(at: path), handler: handler)
    }

    /// Goes on with the listener and the clients of the program that this process was before its exec. Their descriptors are
    /// made close-on-exec again.
    ///
    /// - Throws: when a descriptor has not come along.
    public convenience init(
        _ loop: EventLoop, _ inheritance: ControlInheritance,
        handler: @escaping (ControlRequest, CommandID) -> Void
    ) throws(ControlSocketError) {
        for descriptor in inheritance.descriptors where fcntl(descriptor, F_SETFD, FD_CLOEXEC) != 0 {
            throw ControlSocketError(
                description: "descriptor \(descriptor) of the control socket has not come along: "
                    + String(cString: strerror(errno)))
        }
        self.init(loop, inheritance.socket, handler: handler)
        lastCommand = inheritance.lastCommand
        for client in inheritance.clients { begin(client.descriptor, client.exchange) }
    }

    private init(
        _ loop: EventLoop, _ socket: ControlSocket, handler: @escaping (ControlRequest, CommandID) -> Void
    ) {
        self.loop = loop
        self.socket = socket
        self.handler = handler
        let descriptor = socket.descriptor
        watch = ReadinessWatch(
            loop, fd: descriptor, ready: { [weak self] in self?.accept() }, ended: { Glibc.close(descriptor) })
        timer = LoopTimer(loop) { [weak self] in self?.accept() }
    }

    /// What the program that this process becomes by execve(2) needs to go on: see ``init(_:_:handler:)``. Nothing changes here, so
    /// that a failed execve(2) costs nothing. The descriptors close on exec: clear FD_CLOEXEC on ``ControlInheritance/descriptors``.
    public var inheritance: ControlInheritance {
        ControlInheritance(
            socket: socket, clients: clients.map { .init(descriptor: $0.descriptor, exchange: $0.exchange) },
            lastCommand: lastCommand)
    }

    /// Answers a request. Does nothing when its client has gone meanwhile, or has been answered.
    public func answer(_ command: CommandID, _ reply: ControlReply) {
        clients.first { $0.exchange.phase == .waiting(command) }?.answer(reply.line)
    }

    /// Takes no more requests, tells those that wait that there will be no other answer than `reason`, removes the name,
    /// and closes.
    public func close(reason: String) {
        guard let watch else { return }
        socket.removeName()
        watch.stop()
        timer?.cancel()
        self.watch = nil
        for client in clients {
            if case .answering = client.exchange.phase { continue }
            client.refuse(reason)
        }
    }

    // MARK: Clients

    private func accept() {
        for _ in 0..<Self.acceptedPerTurnMax {
            guard watch != nil else { return }
            let descriptor = csocket_accept(socket.descriptor)
            if descriptor >= 0 {
                welcome(descriptor)
            } else if [EMFILE, ENFILE, ENOBUFS, ENOMEM].contains(-descriptor) {
                // No edge tells when there is one again.
                return timer?.arm(after: Self.exhaustedPause) ?? ()
            } else if descriptor != -ECONNABORTED {
                return
            }
        }
        loop.executeAtEndOfTurn { [weak self] in self?.accept() }
    }

    private func welcome(_ descriptor: Int32) {
        // The mode of the socket's file says the same; this holds also where somebody has changed it.
        let peer = Socket.peerCredentials(of: descriptor)?.userID
        guard let peer, peer == user || peer == 0 else {
            return turnAway(descriptor, "only the user that runs this server, and root, may ask")
        }
        guard clients.count < Self.clientsMax else {
            return turnAway(descriptor, "\(Self.clientsMax) clients are being served already: try again later")
        }
        begin(descriptor, ControlExchange())
    }

    /// The line fits into a new socket's buffer, so that one call sends it.
    private func turnAway(_ descriptor: Int32, _ reason: String) {
        let line = ControlReply(ok: false, message: reason).line
        _ = send(descriptor, line, line.count, Int32(MSG_DONTWAIT | MSG_NOSIGNAL))
        Glibc.close(descriptor)
    }

    private func begin(_ descriptor: Int32, _ exchange: ControlExchange) {
        let client = ControlConversation(
            loop, descriptor, exchange, patience: patience,
            asked: { [weak self] client, line in self?.asked(client, line) },
            ended: { [weak self] client in self?.clients.removeAll { $0 === client } })
        clients.append(client)
        client.start()
    }

    private func asked(_ client: ControlConversation, _ line: [UInt8]) {
        let request: ControlRequest
        do {
            request = try ControlLine.decode(ControlRequest.self, from: line)
        } catch {
            return client.refuse(#"the request makes no sense: send a line such as {"command":"status"}"#)
        }
        let command = nextCommand()
        client.wait(command)
        handler(request, command)
    }

    private func nextCommand() -> CommandID {
        // At most as many are taken as there are clients.
        repeat {
            lastCommand &+= 1
        } while clients.contains {
            $0.exchange.phase == .waiting(CommandID(lastCommand))
        }
        return CommandID(lastCommand)
    }
}

/// A control socket between two programs of one process: its listener, and its clients with what they wait for.
public struct ControlInheritance: Codable, Sendable {
    struct Client: Codable {
        var descriptor: Int32
        var exchange: ControlExchange
    }

    let socket: ControlSocket
    let clients: [Client]
    let lastCommand: UInt32

    /// The listening socket and the clients' sockets.
    public var descriptors: [Int32] { [socket.descriptor] + clients.map(\.descriptor) }

    /// The requests that wait for an answer.
    public var commands: [CommandID] {
        clients.compactMap { if case .waiting(let command) = $0.exchange.phase { command } else { nil } }
    }
}
