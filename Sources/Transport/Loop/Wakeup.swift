import CSocket
import Glibc
import Synchronization

/// Wakes a loop from another thread: an eventfd behind an atomic, so that only the first of many callers writes.
///
/// The descriptor is closed when the last reference goes, and whoever signals holds one: it cannot be closed
/// while someone may still write to it.
final class Wakeup: Sendable {
    private enum State {
        /// The loop looks at its queue again before it sleeps: no write is needed.
        static let awake: UInt8 = 0
        /// The loop is blocked, or about to be: the next caller writes.
        static let asleep: UInt8 = 1
        /// Somebody has written.
        static let signalled: UInt8 = 2
    }

    let fd: Int32
    private let state = Atomic<UInt8>(State.awake)

    init() throws(SystemError) {
        fd = try SystemError.check(csocket_eventfd(), "eventfd")
    }

    deinit {
        close(fd)
    }

    /// Makes the loop's current or next wait return. Any thread.
    func signal() {
        // Of many callers exactly one sees `asleep`. Sequential order: pairs with prepareToSleep(), whose caller
        // looks at its queue after announcing sleep, as we look at the state after filling the queue.
        let previous = state.exchange(State.signalled, ordering: .sequentiallyConsistent)
        if previous == State.asleep {
            let result = csocket_eventfd_signal(fd)
            assert(result == 0, "the eventfd is open as long as this object")
        }
    }

    /// Announces that the loop is about to block; it must look at its queue once more after this. False: it has
    /// been signalled meanwhile and must not block. Loop thread.
    func prepareToSleep() -> Bool {
        state.compareExchange(
            expected: State.awake, desired: State.asleep, ordering: .sequentiallyConsistent
        ).exchanged
    }

    /// The loop is awake again and will look at its queue. Returns whether it has been signalled. Loop thread.
    func awoke() -> Bool {
        state.exchange(State.awake, ordering: .sequentiallyConsistent) == State.signalled
    }

    /// Empties the eventfd. Loop thread.
    func drain() {
        let result = csocket_eventfd_drain(fd)
        assert(result == 0)
    }
}
