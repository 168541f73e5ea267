import CSocket
import Glibc

/// The epoll handler: tries each call, waits for an edge when it would block, and tells of it as a ring would.
///
/// All state is behind one pointer, where no exclusivity check is made; see ``EpollCore``.
final class EpollHandler: IOHandler {
    private let core: UnsafeMutablePointer<EpollCore>
    private let wakeup: Wakeup
    let receiveBuffers: ReceiveBuffers
    /// Completions are in this process's own memory.
    let overflowCount: UInt64 = 0
    var shortageCount: UInt64 { core.pointee.shortageCount }
    /// The epoll instance, for proc_pid_fdinfo(5) to tell what it watches.
    var descriptor: Int32 { core.pointee.poller.epoll }
    /// Events that one wait has room for now.
    var eventCapacity: Int { core.pointee.poller.capacity }

    /// Creates an epoll instance on any thread.
    ///
    /// - Parameter usesTimer: waits by a timerfd though there may be an epoll_pwait2(2).
    /// - Throws: EMFILE, ENFILE, ENOMEM; EINVAL for receive buffers that no handler takes.
    init(
        _ configuration: EpollConfiguration, buffers: ReceiveBufferConfiguration, wakeup: Wakeup,
        usesTimer: Bool = false
    ) throws(SystemError) {
        let poller = try EpollPoller(configuration, wakeup: wakeup.fd, usesTimer: usesTimer)
        let made = EpollCore(poller: poller, buffers: try FreeBuffers(buffers))
        receiveBuffers = made.buffers.memory
        core = .allocate(capacity: 1)
        core.initialize(to: made)
        self.wakeup = wakeup
    }

    /// Nothing ties an epoll instance to a thread.
    func enable() {}

    func submit(_ submissions: UnsafeBufferPointer<Submission>) -> Int {
        for index in submissions.indices where !core.pointee.start(submissions[index]) { return index }
        return submissions.count
    }

    func run(
        until deadline: MonotonicTime?, into batch: UnsafeMutableBufferPointer<Completion>
    ) throws(SystemError) -> Int {
        try core.pointee.run(until: deadline, into: batch)
    }

    func handle(_ completion: Completion) {
        preconditionFailure("this handler submits nothing of its own")
    }

    func giveBuffers(_ ids: UnsafeBufferPointer<UInt16>, size: Int) {
        core.pointee.buffers.size = size
        for id in ids { core.pointee.buffers.give(id) }
    }

    func forget(_ id: RegistrationID) {
        core.pointee.forget(id)
    }

    func destroy() {
        core.deinitialize(count: 1)
        core.deallocate()
    }
}
