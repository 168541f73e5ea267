import CSocket
import Glibc

@testable import Transport

// Receives, accepts, and polls for the peer's departure.
extension SimulatedKernel {
    func receive(_ name: UserData, _ fd: Int32, multishot: Bool) {
        guard let socket = socket(fd) else { return }
        for _ in 0..<climate.burst {
            // Each completion may have been the last.
            guard let operation = pending.first(where: { $0.name == name }) else { return }
            guard receiveOnce(operation, socket, multishot: multishot) else { return }
        }
    }

    /// Returns whether there may be more to do now.
    private func receiveOnce(_ operation: Pending, _ socket: SimulatedSocket, multishot: Bool) -> Bool {
        let name = operation.name
        if operation.isCancelled, !dice.chance(climate.cancelledWithResult) {
            complete(name, -ECANCELED)
        } else if dice.chance(climate.receiveInterrupted) {
            log.mark(.receiveInterrupted)
            complete(name, -dice.one(of: [EAGAIN, EINTR, ECANCELED]))
        } else if buffers.room == 0, socket.unread > 0 || dice.chance(climate.receiveStarved) {
            log.mark(socket.unread > 0 ? .outOfBuffers : .starvedOnArrival)
            complete(name, -ENOBUFS)
        } else if dice.chance(climate.receiveStarved) {
            log.mark(.starvedByChance)
            complete(name, -ENOBUFS)
        } else if socket.unread > 0 {
            return fill(operation, socket, multishot: multishot)
        } else if let failure = socket.takeFailure() {
            log.mark(failure == ECONNRESET ? .receiveReset : .receiveTimedOut)
            complete(name, -failure)
        } else if socket.isAtEnd {
            log.mark(.endOfFile)
            complete(name, 0)
        } else if operation.isCancelled {
            complete(name, -ECANCELED)
        }
        return false
    }

    private func fill(_ operation: Pending, _ socket: SimulatedSocket, multishot: Bool) -> Bool {
        var count = min(socket.unread, buffers.room)
        if dice.chance(climate.receiveShort) { count = min(count, dice.upTo(climate.receiveShortMax)) }
        if count == buffers.room { log.mark(.receiveFilledBuffer) }
        if defect == .endsEarly, count == socket.unread, socket.isInputFinished {
            complete(operation.name, 0)
            return false
        }
        let isRetired = buffers.isIncremental && dice.chance(climate.retireEarly)
        if isRetired { log.mark(.bufferRetiredEarly) }
        let part = buffers.take(count, retired: isRetired)
        if part.goesOn { log.mark(.bufferGoesOn) }
        socket.incoming.copy(to: part.memory, from: socket.taken)
        socket.taken += UInt64(count)
        if defect == .repeatsByte, dice.chance(5) { socket.taken -= 1 }
        if defect == .losesByte, dice.chance(5), socket.unread > 0 { socket.taken += 1 }
        let goesOn = multishot && !operation.isCancelled && !dice.chance(climate.receiveEnds)
        if multishot, !goesOn { log.mark(operation.isCancelled ? .cancelledWithData : .receiveEndedWithData) }
        complete(operation.name, Int32(count), Self.flags(of: part), more: goesOn)
        return goesOn
    }

    func accept(_ name: UserData) {
        for _ in 0..<climate.burst {
            guard let operation = pending.first(where: { $0.name == name }) else { return }
            if operation.isCancelled, !dice.chance(climate.cancelledWithResult) || !listener.hasQueued {
                return complete(name, -ECANCELED)
            }
            guard listener.hasQueued else { return }
            if dice.chance(climate.acceptFails) {
                let isExhausted = dice.chance(50)
                log.mark(isExhausted ? .acceptExhausted : .acceptFailed)
                return complete(
                    name, -dice.one(of: isExhausted ? [EMFILE, ENFILE, ENOMEM] : [ECONNABORTED, EPROTO, EINTR]))
            }
            let fd = listener.accept()
            if defect == .losesAccepted, dice.chance(20) {
                Glibc.close(fd)
                continue
            }
            complete(name, fd, more: !operation.isCancelled && !dice.chance(climate.receiveEnds))
        }
    }

    /// Tells of edges: what is so when the poll begins, and each change. An edge may be told twice.
    func poll(_ index: Int, _ fd: Int32, wanted: Int32, isMultishot: Bool) {
        let name = pending[index].name
        guard !pending[index].isCancelled else { return complete(name, -ECANCELED) }
        guard let socket = socket(fd) else { return }
        var events: Int32 = 0
        if socket.isInputFinished { events |= Int32(CSOCKET_POLLRDHUP) }
        if socket.isInputFinished, socket.isOutputFinished { events |= Int32(POLLHUP) }
        if socket.isReset { events = Int32(CSOCKET_POLLRDHUP) | Int32(POLLERR) | Int32(POLLHUP) }
        if wanted & Int32(POLLOUT) != 0, socket.room > 0 || socket.isReset { events |= Int32(POLLOUT) }
        // Edges: what has gone meanwhile is told again when it comes back.
        pending[index].toldEvents &= events
        guard events != 0, events != pending[index].toldEvents || dice.chance(climate.pollRepeats) else { return }
        pending[index].toldEvents = events
        let ends = !isMultishot || dice.chance(climate.pollEnds)
        if wanted & Int32(POLLOUT) == 0 { log.mark(ends ? .peerWatchEnded : .peerWatched) }
        complete(name, events, more: !ends)
    }
}
