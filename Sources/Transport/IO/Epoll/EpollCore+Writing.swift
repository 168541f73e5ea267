import CSocket
import Glibc

/// Sending and connecting.
extension EpollCore {
    @inline(__always)
    mutating func beginSend(_ entry: UnsafeMutablePointer<EpollEntry>, _ send: PendingSend) {
        let others = entry.pointee.waiting & EpollEntry.sends & ~send.kind.bit
        precondition(others == 0, "a second send would overtake the first")
        entry.pointee.send = send
        if entry.pointee.readiness.contains(.writable) { self.send(entry) }
    }

    /// Sends until all is sent (MSG_WAITALL), the socket is full, or others are to have their turn.
    @inline(__always)
    mutating func send(_ entry: UnsafeMutablePointer<EpollEntry>) {
        for _ in 0..<Self.callsPerRunMax {
            let result = entry.pointee.send.attempt(entry.pointee.fd)
            if result >= 0 {
                entry.pointee.send.done += result
                if entry.pointee.send.done >= entry.pointee.send.count {
                    return endSend(entry, entry.pointee.send.done)
                }
            } else if result == -Int(EAGAIN) {
                entry.pointee.readiness.remove(.writable)
                return
            } else if result != -Int(EINTR) {
                // Behind bytes that were sent, an error waits for the next send.
                return endSend(entry, entry.pointee.send.result(endedBy: result))
            }
        }
        list(entry)
    }

    /// A send without copying has copied: the bytes are free at once, which a second completion tells.
    @inline(__always)
    mutating func endSend(_ entry: UnsafeMutablePointer<EpollEntry>, _ result: Int) {
        let kind = entry.pointee.send.kind
        if kind != .send {
            tell(entry, kind, Int32(result))
            end(entry, kind, 0, Completion.notificationFlag)
        } else {
            end(entry, kind, Int32(result))
        }
    }

    /// Begins a connect, or finds out what became of it: the second call tells the first one's outcome (connect(2)).
    mutating func connect(_ entry: UnsafeMutablePointer<EpollEntry>) {
        let pending = entry.pointee.connect
        let result = csocket_try_connect(entry.pointee.fd, pending.address, pending.length)
        switch result {
        case -EINPROGRESS, -EALREADY, -EINTR:
            entry.pointee.connect.isInProgress = true
            entry.pointee.readiness.remove(.writable)
        case -EISCONN where pending.isInProgress:
            end(entry, .connect, 0)
        case -EAGAIN where pending.address?.pointee.sa_family == sa_family_t(AF_UNIX):
            entry.pointee.readiness.remove(.writable)
            if pending.isRetried { return }
            entry.pointee.connect.isRetried = true
            retries.add(entry.pointee.id)
        default:
            end(entry, .connect, result)
        }
    }

    mutating func retryConnects() {
        guard let count = retries.takeDue() else { return }
        for index in 0..<count {
            guard let entry = table.find(retries[index]), entry.pointee.waits(for: .connect) else { continue }
            entry.pointee.connect.isRetried = false
            connect(entry)
        }
        retries.removeFirst(count)
    }
}

/// Connects to Unix-domain listeners whose queue is full: the kernel tells EAGAIN, and no edge follows when there is
/// room. They are tried again after a moment, in the order in which they came.
struct ConnectRetries: ~Copyable {
    private var waiting = GrowingBuffer<RegistrationID>(capacity: 8)
    private var next = MonotonicTime.distantFuture

    private static let interval: Duration = .milliseconds(2)

    var isEmpty: Bool { waiting.isEmpty }

    mutating func add(_ id: RegistrationID) {
        if waiting.isEmpty { next = .now + Self.interval }
        waiting.append(id)
    }

    /// The deadline of a wait, which ends when there is something to try again.
    func bound(_ deadline: MonotonicTime?) -> MonotonicTime? {
        guard let deadline, !isEmpty else { return deadline }
        return min(deadline, next)
    }

    /// How many are to be tried now; nil when it is not time yet.
    mutating func takeDue() -> Int? {
        let now = MonotonicTime.now
        guard next <= now else { return nil }
        next = now + Self.interval
        return waiting.count
    }

    subscript(index: Int) -> RegistrationID { waiting[index] }

    mutating func removeFirst(_ count: Int) {
        waiting.removeFirst(count)
    }
}

extension msghdr {
    /// What the vector gathers.
    @inline(__always)
    var byteCount: Int {
        var total = 0
        for index in 0..<Int(msg_iovlen) { total += msg_iov[index].iov_len }
        return total
    }
}
