import CSocket
import Glibc

/// Receiving and accepting.
extension EpollCore {
    @inline(__always)
    mutating func beginReceive(_ entry: UnsafeMutablePointer<EpollEntry>, _ receive: PendingReceive) {
        entry.pointee.receive = receive
        if entry.pointee.readiness.contains(.readable) { self.receive(entry) }
    }

    /// Receives until there is nothing, the operation has ended, or others are to have their turn.
    @inline(__always)
    mutating func receive(_ entry: UnsafeMutablePointer<EpollEntry>) {
        // Datagrams may take all buffers, as the ring lets them.
        let isBytes = entry.pointee.receive.message == nil
        let callsMax = isBytes ? min(Self.callsPerRunMax, buffers.shareMax) : Self.callsPerRunMax
        for _ in 0..<callsMax {
            guard let buffer = buffers.take() else { return receiveWithoutBuffer(entry) }
            guard receiveOnce(entry, buffer) else { return }
        }
        list(entry)
    }

    /// Fills a buffer; returns whether to go on.
    @inline(__always)
    private mutating func receiveOnce(_ entry: UnsafeMutablePointer<EpollEntry>, _ buffer: UInt16) -> Bool {
        if let message = entry.pointee.receive.message { return receiveMessage(entry, message.pointee, buffer) }
        let size = buffers.size
        let result = Int(csocket_try_receive(entry.pointee.fd, buffers.bytes(buffer), size))
        guard result > 0 else {
            buffers.give(buffer)
            return receiveFailed(entry, Int32(result))
        }
        let isDrained =
            result < size && entry.pointee.isDrainedByShortReceive
            && entry.pointee.readiness.isDisjoint(with: .moreToRead)
        if isDrained { entry.pointee.readiness.remove(.readable) }
        let flags = Completion.bufferFlag | UInt32(buffer) << Completion.bufferShift
        if entry.pointee.receive.isMultishot {
            tell(entry, .receive, Int32(result), flags)
            return !isDrained
        }
        end(entry, .receive, Int32(result), flags)
        return false
    }

    /// One datagram; an empty one ends the operation, as it ends the ring's.
    private mutating func receiveMessage(
        _ entry: UnsafeMutablePointer<EpollEntry>, _ message: msghdr, _ buffer: UInt16
    ) -> Bool {
        var payload: UInt32 = 0
        let result = csocket_try_receive_message(
            entry.pointee.fd, buffers.bytes(buffer), buffers.memory.size, message.msg_namelen, message.msg_controllen,
            &payload)
        guard result >= 0 else {
            buffers.give(buffer)
            return receiveFailed(entry, Int32(result))
        }
        let flags = Completion.bufferFlag | UInt32(buffer) << Completion.bufferShift
        if payload > 0 {
            tell(entry, .receive, Int32(result), flags)
        } else {
            end(entry, .receive, Int32(result), flags)
        }
        return payload > 0
    }

    /// End of file (0), nothing to receive, or a failure; returns whether to go on.
    private mutating func receiveFailed(_ entry: UnsafeMutablePointer<EpollEntry>, _ result: Int32) -> Bool {
        switch result {
        case -EAGAIN:
            entry.pointee.readiness.remove(.readable)
            return false
        case -EINTR:
            return true
        default:
            end(entry, .receive, result)
            return false
        }
    }

    /// No buffer is free. That ends a receive only if there is something to put into one.
    private mutating func receiveWithoutBuffer(_ entry: UnsafeMutablePointer<EpollEntry>) {
        let wanted = UInt32(POLLIN) | UInt32(CSOCKET_POLLRDHUP)
        if csocket_poll_now(entry.pointee.fd, wanted) == 0 {
            entry.pointee.readiness.remove(.readable)
        } else {
            end(entry, .receive, -ENOBUFS)
        }
    }

    mutating func beginAccept(_ entry: UnsafeMutablePointer<EpollEntry>) {
        // accept(2) has no MSG_DONTWAIT. The accepted sockets are in blocking mode all the same.
        let mode = fcntl(entry.pointee.fd, F_GETFL)
        if mode >= 0, mode & O_NONBLOCK == 0 { _ = fcntl(entry.pointee.fd, F_SETFL, mode | O_NONBLOCK) }
        if entry.pointee.readiness.contains(.readable) { accept(entry) }
    }

    /// Accepts until the queue is empty, an accept fails, or others are to have their turn.
    mutating func accept(_ entry: UnsafeMutablePointer<EpollEntry>) {
        for _ in 0..<Self.callsPerRunMax {
            let result = csocket_accept(entry.pointee.fd)
            if result == -EAGAIN {
                entry.pointee.readiness.remove(.readable)
                return
            }
            guard result >= 0 else { return end(entry, .accept, result) }
            tell(entry, .accept, result)
        }
        list(entry)
    }
}
