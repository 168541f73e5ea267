import Glibc
import Transport

/// A client of the control socket: performs its ``ControlExchange`` with plain calls that never block, when a poll says so.
///
/// Polls and no receives, since a poll takes nothing out of the socket: when an exec ends the loop's ring, no byte is lost.
final class ControlConversation {
    let descriptor: Int32
    private(set) var exchange: ControlExchange
    private let asked: (ControlConversation, [UInt8]) -> Void
    private let ended: (ControlConversation) -> Void
    private var watch: ReadinessWatch?
    private var timer: LoopTimer?
    /// When an answer that is not taken is given up.
    private var answerDeadline = MonotonicTime.distantFuture
    private let loop: EventLoop
    private let patience: Patience

    /// How long a client may keep one of the few places. How long an answer takes to make is not its fault.
    struct Patience {
        /// The request must have come so soon after the connection.
        var request: Duration = .seconds(5)
        /// The answer must have been taken so soon after it was given.
        var answer: Duration = .seconds(10)
    }

    /// A client that is slow to read is looked at again after this long: what tells of readiness here tells of reading only.
    private static let answerPause: Duration = .milliseconds(10)

    /// Takes over a connected socket. Call ``start()`` next.
    ///
    /// - Parameters:
    ///   - asked: is given a request's line; ``wait(_:)`` or ``answer(_:)`` is called for it there.
    ///   - ended: is called once, when nothing more will come of it.
    init(
        _ loop: EventLoop, _ descriptor: Int32, _ exchange: ControlExchange, patience: Patience,
        asked: @escaping (ControlConversation, [UInt8]) -> Void, ended: @escaping (ControlConversation) -> Void
    ) {
        self.loop = loop
        self.descriptor = descriptor
        self.exchange = exchange
        self.patience = patience
        self.asked = asked
        self.ended = ended
    }

    /// Goes on from where the exchange is.
    func start() {
        watch = ReadinessWatch(
            loop, fd: descriptor, ready: { [weak self] in self?.ready() }, ended: { [descriptor] in close(descriptor) })
        timer = LoopTimer(loop) { [weak self] in self?.timeIsUp() }
        switch exchange.phase {
        case .reading: timer?.arm(after: patience.request)
        case .waiting: break
        case .answering: beginAnswering()
        }
    }

    func wait(_ command: CommandID) {
        exchange.wait(command)
        timer?.cancel()
    }

    /// Sends the answer, then ends. Does nothing once it has ended.
    func answer(_ line: [UInt8]) {
        guard watch != nil else { return }
        exchange.answer(line)
        beginAnswering()
    }

    /// Lets go of the client.
    func end() {
        guard let watch else { return }
        watch.stop()
        timer?.cancel()
        self.watch = nil
        timer = nil
        ended(self)
    }

    private func ready() {
        switch exchange.phase {
        case .reading: receive()
        case .waiting, .answering: if isGone { end() }
        }
    }

    private func receive() {
        // Bounded: each turn leaves less room.
        while watch != nil, exchange.room > 0 {
            let room = exchange.room
            var part: ControlExchange.Progress?
            var code: Int32 = 0
            withUnsafeTemporaryAllocation(byteCount: room, alignment: 1) { buffer in
                let count = recv(descriptor, buffer.baseAddress, room, Int32(MSG_DONTWAIT))
                code = count < 0 ? errno : 0
                if count > 0 { part = exchange.received(buffer.prefix(count)) }
                if count == 0 { part = exchange.receivedEnd() }
            }
            switch part {
            case .incomplete: continue
            case .request(let line): return asked(self, line)
            case .tooLong: return refuse("a request has at most \(ControlExchange.requestLengthMax) bytes")
            case .gone: return end()
            case nil where code == EAGAIN: return
            case nil where code == EINTR: continue
            case nil: return end()
            }
        }
    }

    func refuse(_ reason: String) {
        answer(ControlReply(ok: false, message: reason).line)
    }

    private func timeIsUp() {
        switch exchange.phase {
        case .reading: refuse("no request came within \(patience.request.components.seconds) s")
        case .waiting: break
        case .answering: send()
        }
    }

    private func beginAnswering() {
        answerDeadline = loop.now + patience.answer
        send()
    }

    private func send() {
        guard case .answering(let bytes) = exchange.phase else { return }
        let count = Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_DONTWAIT | MSG_NOSIGNAL))
        if count >= 0 {
            if exchange.sent(count) { return end() }
        } else if errno != EAGAIN, errno != EINTR {
            return end()
        }
        if loop.now < answerDeadline { timer?.arm(after: Self.answerPause) } else { end() }
    }

    /// Whether the client has closed its socket. One that has only shut down its writing side may still want the answer.
    private var isGone: Bool {
        var descriptor = pollfd(fd: descriptor, events: 0, revents: 0)
        return poll(&descriptor, 1, 0) > 0 && descriptor.revents & Int16(POLLHUP | POLLERR) != 0
    }
}

extension ControlReply {
    /// As it is sent.
    var line: [UInt8] {
        do {
            return try ControlLine.encode(self)
        } catch {
            // A number that JSON has no form for: nothing of the client's doing.
            return Array(#"{"message":"the answer cannot be written as JSON","ok":false}"#.utf8) + [UInt8(ascii: "\n")]
        }
    }
}
