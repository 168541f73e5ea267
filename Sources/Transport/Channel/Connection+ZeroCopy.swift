import Glibc

// Sending without copying. The result of a send says how much was taken, and lets the next one follow; the memory stays
// as it is until the kernel's notification, however long the peer takes and whether the socket is still open.
extension Connection {
    /// Sends `count` chunk bytes or as many as fit one message. False when all slots wait for their notification.
    func sendWithoutCopying(_ count: Int) -> Bool {
        let sends = zeroCopySends
        guard let slot = sends.freeSlot else { return false }
        submitWithoutCopying(sends.fill(slot, from: state.pointee.queue, limit: count), slot)
        return true
    }

    /// Sends what is left of `memory`. False when all slots wait for their notification.
    func sendWithoutCopying(_ memory: UncopiedBytes, sent: Int) -> Bool {
        let sends = zeroCopySends
        guard let slot = sends.freeSlot else { return false }
        submitWithoutCopying(sends.fill(slot, from: memory, sent: sent), slot)
        return true
    }

    private var zeroCopySends: ZeroCopySends {
        if let sends = state.pointee.zeroCopySends { return sends }
        let sends = ZeroCopySends()
        state.pointee.zeroCopySends = sends
        return sends
    }

    private func submitWithoutCopying(_ message: UnsafePointer<msghdr>, _ slot: Int) {
        state.pointee.sending = .zeroCopy
        submit(.sendMessageZeroCopy(fd: fd, message: message), .zeroCopySend(slot))
    }

    /// A result or a notification. A notification follows if and only if the result has more, a failure's too.
    func zeroCopyCompleted(_ kind: OperationKind, _ completion: Completion) {
        if completion.hasMore {
            awaitNotification(kind)
        } else {
            let uncopied = state.pointee.zeroCopySends?.free(kind.zeroCopySlot, into: loop.chunks)
            // Dropped here: its owner is told when the slot is free already.
            _ = consume uncopied
        }
        if !completion.isNotification { zeroCopySent(completion.result) }
    }

    private func zeroCopySent(_ result: Int32) {
        switch -result {
        case EINVAL, EOPNOTSUPP, ENOSYS:
            // The kernel cannot, as before 6.1: not for this connection any more. Bytes stay queued.
            state.pointee.zeroCopyThreshold = .max
            state.pointee.sending = .idle
            send(copying: true)
        case ENOBUFS, ENOMEM:
            // No room for the pages' accounting (net.core.optmem_max): this piece is copied.
            state.pointee.sending = .idle
            send(copying: true)
        default:
            sendEnded(result)
        }
    }
}
