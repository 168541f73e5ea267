import CSocket
import Glibc

/// An epoll instance with room for its events, and a way to wait until a moment.
///
/// It waits with the nanoseconds of epoll_pwait2(2). Where that is missing (before Linux 5.11) or denied (a seccomp
/// profile older than the call), a timerfd among the descriptors ends the wait instead.
struct EpollPoller: ~Copyable {
    /// The epoll instance.
    let epoll: Int32
    /// -1: epoll_pwait2 does it.
    private let timer: Int32
    /// What the timer was last set to.
    private var timerDeadline = MonotonicTime(nanoseconds: 0)
    private var events: UnsafeMutablePointer<csocket_event>
    private(set) var capacity: Int
    private let capacityMax: Int
    /// The last wait brought as many events as there was room for.
    private var wasFull = false

    /// The slot of the poller's own descriptors, which no registration has: their events only end the wait.
    private static let ownSlot: UInt32 = 0

    /// - Parameters:
    ///   - wakeup: an eventfd. It is never read: each write is a new edge, and its 64 bits do not run full.
    ///   - usesTimer: as if there were no epoll_pwait2.
    /// - Throws: EMFILE, ENFILE or ENOMEM of epoll_create1(2), epoll_ctl(2) or timerfd_create(2).
    init(_ configuration: EpollConfiguration, wakeup: Int32, usesTimer: Bool = false) throws(SystemError) {
        let (capacity, capacityMax) =
            switch configuration.eventCapacity {
            case .fixed(let capacity): (capacity, capacity)
            case .growable(let initial, let max): (initial, max)
            }
        precondition(capacity > 0 && capacity <= capacityMax, "no room for events")
        let epoll = try SystemError.check(csocket_epoll_create(), "epoll_create1")
        var timer: Int32 = -1
        do throws(SystemError) {
            try Self.watch(epoll, wakeup)
            if usesTimer || !Self.waitsPrecisely(epoll) {
                timer = try SystemError.check(csocket_timer_create(), "timerfd_create")
                try Self.watch(epoll, timer)
            }
        } catch {
            close(epoll)
            if timer >= 0 { close(timer) }
            throw error
        }
        self.epoll = epoll
        self.timer = timer
        self.capacity = capacity
        self.capacityMax = capacityMax
        events = .allocate(capacity: capacity)
    }

    deinit {
        close(epoll)
        if timer >= 0 { close(timer) }
        events.deallocate()
    }

    private static func watch(_ epoll: Int32, _ fd: Int32) throws(SystemError) {
        let result = csocket_epoll_add(epoll, fd, UInt32(POLLIN) | CSOCKET_EPOLLET, ownSlot, 0)
        try SystemError.check(result, "epoll_ctl")
    }

    private static func waitsPrecisely(_ epoll: Int32) -> Bool {
        var event = csocket_event()
        return csocket_epoll_wait(epoll, &event, 1, 1) >= 0
    }

    /// Adds a descriptor, edge-triggered, for everything that can happen to it. Returns 0 or epoll_ctl(2)'s negative errno.
    ///
    /// POLLPRI is asked for because a receive stops short of a byte out of band.
    func add(_ fd: Int32, _ id: RegistrationID) -> Int32 {
        assert(id.slot != Self.ownSlot)
        let all = UInt32(POLLIN | POLLOUT | POLLPRI | Int32(CSOCKET_POLLRDHUP)) | CSOCKET_EPOLLET
        return csocket_epoll_add(epoll, fd, all, id.slot, id.generation)
    }

    /// Removes a descriptor that was added.
    func remove(_ fd: Int32) {
        let result = csocket_epoll_remove(epoll, fd)
        assert(result == 0, "the descriptor was closed before it was forgotten")
    }

    /// Waits for events until `deadline` (nil: not at all). They are valid until the next call; those of the poller's
    /// own descriptors bear ``RegistrationID/handler``.
    mutating func wait(until deadline: MonotonicTime?) throws(SystemError) -> UnsafeBufferPointer<csocket_event> {
        if wasFull { grow() }
        let result = csocket_epoll_wait(epoll, events, Int32(capacity), try timeout(until: deadline))
        if result < 0, result != -EINTR { throw SystemError("epoll_wait", code: result) }
        let count = Int(max(0, result))
        wasFull = count == capacity
        return UnsafeBufferPointer(start: events, count: count)
    }

    /// Nanoseconds to wait; -1 for ever, or until the timer fires.
    private mutating func timeout(until deadline: MonotonicTime?) throws(SystemError) -> Int64 {
        guard let deadline else { return 0 }
        if deadline == .distantFuture { return -1 }
        let now = MonotonicTime.now
        if deadline <= now { return 0 }
        if timer < 0 { return Int64(clamping: deadline.nanoseconds - now.nanoseconds) }
        if deadline != timerDeadline {
            try SystemError.check(csocket_timer_set(timer, deadline.nanoseconds), "timerfd_settime")
            timerDeadline = deadline
        }
        return -1
    }

    private mutating func grow() {
        wasFull = false
        guard capacity < capacityMax else { return }
        capacity = min(capacity * 2, capacityMax)
        events.deallocate()
        events = .allocate(capacity: capacity)
    }
}
