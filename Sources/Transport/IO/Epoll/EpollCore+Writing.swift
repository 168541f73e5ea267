import CSocket
import Glibc

/// Sending and connecting.
extension EpollCore {
    /// A send is one call, which never waits: as much as there is room for. One without copying has copied: its bytes are
    /// free at once, which a second completion tells.
    @inline(__always)
    mutating func endSend(_ entry: UnsafeMutablePointer<EpollEntry>, _ kind: OperationKind, _ result: Int64) {
        if kind != .send {
            tell(entry, kind, Int32(truncatingIfNeeded: result))
            end(entry, kind, 0, Completion.notificationFlag)
        } else {
            end(entry, kind, Int32(truncatingIfNeeded: result))
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
