import CRing
import CSocket
import Glibc

/// The io_uring handler: one ring, its registered receive buffers, and a multishot poll on the loop's eventfd.
final class UringHandler: IOHandler {
    private let ring: OpaquePointer
    private let buffers: UringBuffers
    private let wakeup: Wakeup
    /// The wake-up poll has ended and is to be armed before the next wait.
    private var needsWakeup = true
    /// Bytes after which a receive ends and is armed anew, behind those of other connections; 0: it goes on.
    private var receiveBytesMax: UInt32
    private(set) var overflowCount: UInt64 = 0
    private(set) var shortageCount: UInt64 = 0

    /// The kernel's io-wq threads for this ring. One operation needs one: connecting to a Unix-domain socket whose
    /// queue is full, which cannot be polled. More than one thread, so that a stuck peer does not hold up others.
    private static let kernelThreadsMax: UInt32 = 4
    /// How often per turn what outgrew the completion queue is fetched.
    private static let overflowRoundsMax = 16
    /// How long the loop rests when the kernel has no memory for its requests.
    private static let shortageRestMicroseconds: UInt32 = 1000

    /// Creates a disabled ring on any thread; ``enable()`` ties it to the loop's.
    init(
        _ configuration: UringConfiguration, buffers bufferConfiguration: ReceiveBufferConfiguration, wakeup: Wakeup
    ) throws(SystemError) {
        let made = try UringSetup.create(configuration, bufferConfiguration)
        // Refused only by kernels before 5.15, where it is merely not available.
        _ = cring_limit_workers(made.ring, 1, Self.kernelThreadsMax)
        ring = made.ring
        buffers = made.buffers
        self.wakeup = wakeup
        receiveBytesMax = Self.receiveBytesMax(bufferConfiguration)
    }

    var receiveBuffers: ReceiveBuffers { buffers.memory }

    /// A quarter of the buffers that the loop begins with: no connection can take all of them between two turns.
    private static func receiveBytesMax(_ configuration: ReceiveBufferConfiguration) -> UInt32 {
        let quarter = UInt64(configuration.count) * UInt64(configuration.size) / 4
        return max(configuration.size, UInt32(min(quarter, UInt64(Int32.max))))
    }

    /// Seen on Linux 6.18. What is ready when the request starts to poll counts as one wake-up, which is used up by taking the
    /// bytes; another attempt follows only if bytes are left, or FIN has come (`tcp_inq_hint()`; RST does not set
    /// SOCK_DONE). What comes later has a wake-up of its own.
    var canHideReset: Bool { true }

    func enable() throws(SystemError) {
        try SystemError.check(cring_enable(ring), "io_uring_register(ENABLE_RINGS)")
        if !UringAvailability.limitsReceives(ring) { receiveBytesMax = 0 }
    }

    /// Returns false when the queue is full: then the loop may not block.
    private func armWakeup() -> Bool {
        cring_poll(ring, UserData(.poll, .handler).rawValue, wakeup.fd, UInt32(POLLIN), 1) == 0
    }

    func submit(_ submissions: UnsafeBufferPointer<Submission>) throws(SystemError) -> Int {
        for (index, submission) in submissions.enumerated() where encode(submission) == -EBUSY {
            // The queue is full: hand it over. What the kernel does not take now waits for the next turn, which reaps first.
            guard try enter(wait: false, timeout: -1), encode(submission) == 0 else { return index }
        }
        return submissions.count
    }

    @inline(__always)
    private func encode(_ submission: Submission) -> Int32 {
        let userData = submission.userData.rawValue
        switch submission.operation {
        case .accept(let fd):
            Socket.setBlocking(fd)
            return cring_accept_multishot(ring, userData, fd)
        case .receive(let fd, let multishot):
            return cring_receive(
                ring, userData, fd, UringBuffers.streamGroup, multishot ? 1 : 0, multishot ? receiveBytesMax : 0)
        case .send(let fd, let bytes, let count):
            return cring_send(ring, userData, fd, bytes, count)
        case .sendMessage(let fd, let message):
            return cring_send_message(ring, userData, fd, message)
        case .sendMessageZeroCopy(let fd, let message):
            return cring_send_message_zero_copy(ring, userData, fd, message)
        case .receiveMessages(let fd, let message):
            return cring_receive_messages(ring, userData, fd, .init(mutating: message), buffers.messageGroup)
        case .connect(let fd, let address, let length):
            return cring_connect(ring, userData, fd, address, length)
        case .poll(let fd, let events, let multishot):
            return cring_poll(ring, userData, fd, events, multishot ? 1 : 0)
        case .cancel(let target):
            return cring_cancel(ring, userData, target.rawValue)
        }
    }

    func run(
        until deadline: MonotonicTime?, into batch: UnsafeMutableBufferPointer<Completion>
    ) throws(SystemError) -> Int {
        if needsWakeup { needsWakeup = !armWakeup() }
        if let deadline, !needsWakeup {
            try enter(wait: true, timeout: Self.timeout(until: deadline))
        } else {
            try enter(wait: false, timeout: -1)
        }
        var count = reap(into: batch)
        // What outgrew the completion queue comes piece by piece, as there is room. The rest is for the next turn, so
        // that tasks have theirs.
        for _ in 0..<Self.overflowRoundsMax where count < batch.count && cring_has_overflow(ring) != 0 {
            try enter(wait: false, timeout: -1)
            count += reap(into: UnsafeMutableBufferPointer(rebasing: batch[count...]))
        }
        return count
    }

    private func reap(into batch: UnsafeMutableBufferPointer<Completion>) -> Int {
        batch.withMemoryRebound(to: cring_completion.self) { raw in
            Int(cring_reap(ring, raw.baseAddress, UInt32(raw.count)))
        }
    }

    /// Nanoseconds from now, or -1 for ever.
    private static func timeout(until deadline: MonotonicTime) -> Int64 {
        guard deadline != .distantFuture else { return -1 }
        let now = MonotonicTime.now
        return deadline <= now ? 0 : Int64(clamping: deadline.nanoseconds - now.nanoseconds)
    }

    /// Enters; returns false when the kernel could not take everything, which is for a later turn.
    @discardableResult
    private func enter(wait: Bool, timeout: Int64) throws(SystemError) -> Bool {
        if cring_has_overflow(ring) != 0 { overflowCount += 1 }
        let result = cring_enter(ring, wait ? 1 : 0, timeout)
        switch -result {
        case 0, ETIME, EINTR:
            return true
        case EBUSY:
            // Completions must be reaped before the kernel takes more.
            return false
        case EAGAIN:
            // The kernel has no memory for requests: a rest instead of a spin.
            shortageCount += 1
            usleep(Self.shortageRestMicroseconds)
            return false
        default:
            throw SystemError("io_uring_enter", code: result)
        }
    }

    func handle(_ completion: Completion) {
        assert(completion.userData == UserData(.poll, .handler))
        wakeup.drain()
        if !completion.hasMore {
            // Ended by an overflow: without it no other thread could wake this loop.
            needsWakeup = true
        }
    }

    func giveBuffers(_ ids: UnsafeBufferPointer<UInt16>, size: Int) {
        buffers.give(ids, size: size)
    }

    /// The ring knows descriptors only while an operation is in flight.
    func forget(_ id: RegistrationID) {}

    func destroy() {
        buffers.destroy(ring)
        cring_destroy(ring)
    }
}
