import CSocket
import Glibc

/// Polls.
extension EpollCore {
    /// What every poll of a ring reports, asked for or not (IO_POLL_UNMASK in the kernel's io_uring/poll.c).
    private static let alwaysReported = UInt32(POLLERR | POLLHUP | POLLNVAL | Int32(CSOCKET_POLLRDHUP))

    /// Tells what holds already, since its edge may be past.
    mutating func beginPoll(_ entry: UnsafeMutablePointer<EpollEntry>, _ kind: OperationKind, _ poll: PendingPoll) {
        switch kind {
        case .pollWrite: entry.pointee.pollWrite = poll
        case .pollRead: entry.pointee.pollRead = poll
        default: entry.pointee.poll = poll
        }
        let events = csocket_poll_now(entry.pointee.fd, poll.events | Self.alwaysReported)
        if events < 0 { return end(entry, kind, events) }
        tell(entry, kind, poll, UInt32(events))
    }

    mutating func tellPolls(_ entry: UnsafeMutablePointer<EpollEntry>, _ events: UInt32) {
        if entry.pointee.waits(for: .poll) { tell(entry, .poll, entry.pointee.poll, events) }
        if entry.pointee.waits(for: .pollWrite) { tell(entry, .pollWrite, entry.pointee.pollWrite, events) }
        if entry.pointee.waits(for: .pollRead) { tell(entry, .pollRead, entry.pointee.pollRead, events) }
    }

    private mutating func tell(
        _ entry: UnsafeMutablePointer<EpollEntry>, _ kind: OperationKind, _ poll: PendingPoll, _ events: UInt32
    ) {
        let wanted = events & (poll.events | Self.alwaysReported)
        if wanted == 0 { return }
        if poll.isMultishot {
            tell(entry, kind, Int32(bitPattern: wanted))
        } else {
            end(entry, kind, Int32(bitPattern: wanted))
        }
    }
}
