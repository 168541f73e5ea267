import CRing
import Glibc

@testable import Transport

/// What a send without copying refers to until the kernel lets go of it.
struct HeldBytes {
    let pieces: [UnsafeRawBufferPointer]
    let stream: SimulatedStream
    let offset: UInt64
    /// Bytes that were taken.
    let count: Int
}

// Sends, with and without copying.
extension SimulatedKernel {
    static func pieces(of message: msghdr) -> [UnsafeRawBufferPointer] {
        (0..<Int(message.msg_iovlen)).map {
            UnsafeRawBufferPointer(start: message.msg_iov[$0].iov_base, count: message.msg_iov[$0].iov_len)
        }
    }

    func send(_ operation: Pending, _ fd: Int32, _ pieces: [UnsafeRawBufferPointer]) {
        guard let socket = socket(fd), let result = result(operation, socket, pieces) else { return }
        complete(operation.name, result)
    }

    /// What the send comes to; nil while it has to wait.
    private func result(_ operation: Pending, _ socket: SimulatedSocket, _ pieces: [UnsafeRawBufferPointer]) -> Int32? {
        let count = pieces.reduce(0) { $0 + $1.count }
        log.require(count > 0, "a send of nothing")
        if operation.isCancelled, socket.room == 0 || !dice.chance(climate.cancelledWithResult) { return -ECANCELED }
        if socket.isReset {
            log.mark(.sendReset)
            return -(socket.takeFailure() ?? EPIPE)
        }
        if dice.chance(climate.sendInterrupted) {
            log.mark(.sendInterrupted)
            return -dice.one(of: [EAGAIN, EINTR])
        }
        if dice.chance(climate.sendRefused) { return refuse(socket) }
        guard socket.room > 0 else {
            awaitEdge(socket.fd)
            return -EAGAIN
        }
        var taken = min(count, socket.room)
        if dice.chance(climate.sendShort) { taken = dice.upTo(taken) }
        if taken < count { log.mark(operation.isCancelled ? .cancelledWithPartOfSend : .sendShort) }
        socket.take(taken, of: pieces, log)
        if defect == .sendsTwice, taken > 1, dice.chance(10) { return Int32(taken - 1) }
        return Int32(taken)
    }

    /// Whoever found no room is woken when there is some (SOCK_NOSPACE), though a poll may have told of room before.
    private func awaitEdge(_ fd: Int32) {
        for index in pending.indices {
            guard case .poll(fd, _, _) = pending[index].submission.operation else { continue }
            pending[index].toldEvents &= ~Int32(POLLOUT)
        }
    }

    private func refuse(_ socket: SimulatedSocket) -> Int32 {
        socket.isSendRefused = true
        let result = dice.one(of: [0, -ENOBUFS, -ENOMEM, -ETIMEDOUT])
        log.mark(result == 0 ? .sendTookNothing : .sendRefused)
        return result
    }

    func sendWithoutCopying(_ operation: Pending, _ fd: Int32, _ pieces: [UnsafeRawBufferPointer]) {
        guard let socket = socket(fd) else { return }
        let offset = socket.sent
        let isRefused = dice.chance(climate.zeroCopyRefused) && !operation.isCancelled && !socket.isReset
        let told =
            isRefused ? -dice.one(of: [ENOBUFS, ENOMEM, EOPNOTSUPP, EINVAL]) : result(operation, socket, pieces)
        guard let told else { return }
        log.mark(.zeroCopySend)
        // A failure may have held the bytes, too. One that was cancelled before it began has not.
        guard told > 0 || (told != -ECANCELED && dice.chance(50)) else { return complete(operation.name, told) }
        if told < 0 { log.mark(.zeroCopyFailedWithNotification) }
        let held = HeldBytes(
            pieces: pieces, stream: socket.outgoing, offset: offset, count: Int(max(0, told)))
        if let index = pending.firstIndex(where: { $0.name == operation.name }) {
            pending[index].fate = .notifying(held)
        }
        complete(operation.name, told, more: true)
    }

    /// The kernel lets go of the bytes, which must be what they were.
    func notify(_ name: UserData, _ held: HeldBytes) {
        if defect == .forgetsNotification { return }
        if dice.chance(climate.notificationLate) { return log.mark(.notificationLate) }
        var offset = held.offset
        var left = held.count
        for piece in held.pieces where left > 0 {
            let part = UnsafeRawBufferPointer(rebasing: piece.prefix(left))
            log.require(held.stream.matches(part, from: offset), "bytes changed that the kernel still had")
            offset += UInt64(part.count)
            left -= part.count
        }
        complete(name, 0, UInt32(CRING_COMPLETION_NOTIFICATION))
    }
}
