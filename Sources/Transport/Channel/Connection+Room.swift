import CSocket
import Glibc

// How a connection waits for room in its socket: no send waits in the kernel.
extension Connection {
    /// There may be room, but no more is sent in this turn.
    func awaitNextTurn() {
        guard let registration else { preconditionFailure("nothing is sent before the start") }
        state.pointee.sending = .nextTurn
        loop.goOnInNextTurn(registration)
    }

    func nextTurnBegun() {
        if !isClosing, state.pointee.sending == .nextTurn { sendAgain() }
    }

    /// Waits for room. An earlier wait may still have to end first: two of a kind cannot be in flight.
    func awaitRoom(multishot: Bool = false) {
        guard !isInFlight(.pollWrite) else {
            state.pointee.sending = .settling
            return cancel(.pollWrite)
        }
        state.pointee.sending = .room
        submit(.poll(fd: fd, events: UInt32(POLLOUT), multishot: multishot), .pollWrite)
    }

    /// After the peer's FIN each new poll completes at once with POLLRDHUP, asked for or not, whether there is room or
    /// none: asking again and again would be a spin. Then a multishot waits, which after the first time tells of edges
    /// alone; it is cancelled when there is room, so that whoever waits next learns of room that there is already.
    func roomCompleted(_ completion: Completion) {
        guard !isClosing else { return }
        switch state.pointee.sending {
        case .idle, .plain, .zeroCopy, .nextTurn:
            // An earlier wait, of which nobody wants to know any more.
            break
        case .settling:
            if !completion.hasMore { sendAgain() }
        case .room:
            let result = completion.result
            let saysPeerFinishedOnly = result == Int32(CSOCKET_POLLRDHUP)
            if saysPeerFinishedOnly { return completion.hasMore ? () : awaitRoom(multishot: true) }
            guard result > 0 || [EAGAIN, EINTR, ECANCELED].contains(-result) else { return fail(-result, "poll") }
            if completion.hasMore { cancel(.pollWrite) }
            sendAgain()
        }
    }

    /// The wait is over. A failure of the socket is met, and told, by the next call.
    private func sendAgain() {
        state.pointee.sending = .idle
        // What plain calls have sent. A send has told of itself already.
        if state.pointee.bytesTold != state.pointee.bytesSent { tellProgress() }
        send()
    }

    /// The cancellation may have come too early for the wait that it was meant for, or have been meant for one before.
    func roomCancelled() {
        if isClosing { return cancellationCompleted() }
        if state.pointee.sending == .settling { cancel(.pollWrite) }
    }
}
