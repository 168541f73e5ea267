import CSocket
import Glibc

/// What the epoll handler knows and does. Operations wait in the entry of their registration; completions wait in a
/// queue for ``run(until:into:)``, and are never told from ``start(_:)``.
struct EpollCore: ~Copyable {
    var poller: EpollPoller
    var buffers: FreeBuffers
    var table = EpollTable()
    var completions = CompletionQueue(capacity: 1024)
    /// Who stopped for the others' sake though there was more to do.
    private var ready = GrowingBuffer<RegistrationID>(capacity: 64)
    /// How many of them had stopped when the last run ended. Those since then have had their turn.
    private var dueCount = 0
    /// Connects that the kernel will not tell of.
    var retries = ConnectRetries()
    /// The last run did not look for events.
    private var skippedWait = false
    private(set) var shortageCount: UInt64 = 0

    /// System calls per direction, registration and run: one that floods does not hold up the others.
    static let callsPerRunMax = 16
    /// How long the loop rests when the kernel has no memory.
    private static let shortageRestMicroseconds: UInt32 = 1000

    init(poller: consuming EpollPoller, buffers: consuming FreeBuffers) {
        self.poller = poller
        self.buffers = buffers
    }

    // MARK: Registrations

    /// Begins an operation, trying it first. False: the kernel is short of memory, try again later.
    @inline(__always)
    mutating func start(_ submission: Submission) -> Bool {
        let id = submission.userData.registration
        guard let kind = submission.userData.kind else { preconditionFailure("an operation without a kind") }
        guard let fd = submission.operation.descriptor else {
            if case .cancel(let target) = submission.operation { cancel(target, submission.userData) }
            return true
        }
        if let entry = table.find(id) {
            begin(submission.operation, kind, fd, entry)
            return true
        }
        let entry = table.make(id, fd: fd)
        switch watch(entry) {
        case 0:
            begin(submission.operation, kind, fd, entry)
        case -ENOMEM:
            entry.pointee = EpollEntry(id: .handler)
            shortageCount += 1
            usleep(Self.shortageRestMicroseconds)
            return false
        case let error:
            // Whole: what was not watched is not to be closed at the end as if it were a copy.
            entry.pointee = EpollEntry(id: .handler)
            completions.append(Completion(userData: submission.userData, result: error, flags: 0))
        }
        return true
    }

    /// Gives a registration's descriptor to epoll, once for its life.
    private func watch(_ entry: UnsafeMutablePointer<EpollEntry>) -> Int32 {
        let fd = entry.pointee.fd
        entry.pointee.isDrainedByShortReceive = Socket.isTCP(fd)
        entry.pointee.watchedFd = fd
        switch poller.add(fd, entry.pointee.id) {
        case -EEXIST:
            // Another registration has the same descriptor: this one gets a copy of it.
            let copy = fcntl(fd, F_DUPFD_CLOEXEC, 0)
            if copy < 0 { return -errno }
            entry.pointee.watchedFd = copy
            let result = poller.add(copy, entry.pointee.id)
            if result < 0 { close(copy) }
            return result
        case -EPERM:
            // A regular file or directory, which is always ready.
            entry.pointee.watchedFd = -1
            return 0
        case let result:
            return result
        }
    }

    /// Closing the descriptor would not do: epoll watches the open socket, of which another process may hold a copy.
    mutating func forget(_ id: RegistrationID) {
        guard let entry = table.find(id) else { return }
        assert(entry.pointee.waiting == 0, "a registration is forgotten with operations in flight")
        let watched = entry.pointee.watchedFd
        if watched >= 0 { poller.remove(watched) }
        if watched >= 0, watched != entry.pointee.fd { close(watched) }
        entry.pointee.fd = -1
        entry.pointee.watchedFd = -1
    }

    // MARK: Operations

    @inline(__always)
    private mutating func begin(
        _ operation: Operation, _ kind: OperationKind, _ fd: Int32, _ entry: UnsafeMutablePointer<EpollEntry>
    ) {
        assert(entry.pointee.fd == fd, "a registration has one descriptor")
        assert(!entry.pointee.waits(for: kind), "two operations of one kind in flight")
        entry.pointee.waiting |= kind.bit
        switch operation {
        case .send(_, let bytes, let count):
            endSend(entry, kind, csocket_try_send(fd, bytes, Int(count)))
        case .sendMessage(_, let message), .sendMessageZeroCopy(_, let message):
            endSend(entry, kind, csocket_try_send_message(fd, message))
        case .receive(_, let isMultishot):
            beginReceive(entry, PendingReceive(isMultishot: isMultishot))
        case .receiveMessages(_, let message):
            beginReceive(entry, PendingReceive(isMultishot: true, message: message))
        case .accept:
            beginAccept(entry)
        case .connect(_, let address, let length):
            entry.pointee.connect = PendingConnect(address: address, length: length)
            connect(entry)
        case .poll(_, let events, let isMultishot):
            beginPoll(entry, kind, PendingPoll(events: events, isMultishot: isMultishot))
        case .cancel:
            preconditionFailure("a cancellation has no descriptor")
        }
    }

    /// Ends an operation that waits, as the ring would: what it came to, and 0 for the cancellation.
    private mutating func cancel(_ target: UserData, _ userData: UserData) {
        var result = -ENOENT
        if let kind = target.kind, let entry = table.find(target.registration), entry.pointee.waits(for: kind) {
            result = 0
            end(entry, kind, -ECANCELED)
        }
        completions.append(Completion(userData: userData, result: result, flags: 0))
    }

    /// Queues a completion that others of the same operation follow.
    @inline(__always)
    mutating func tell(
        _ entry: UnsafeMutablePointer<EpollEntry>, _ kind: OperationKind, _ result: Int32, _ flags: UInt32 = 0
    ) {
        let userData = UserData(kind, entry.pointee.id)
        completions.append(Completion(userData: userData, result: result, flags: flags | Completion.moreFlag))
    }

    /// Queues an operation's terminal completion.
    @inline(__always)
    mutating func end(
        _ entry: UnsafeMutablePointer<EpollEntry>, _ kind: OperationKind, _ result: Int32, _ flags: UInt32 = 0
    ) {
        assert(entry.pointee.waits(for: kind), "an operation ends twice")
        entry.pointee.waiting &= ~kind.bit
        completions.append(Completion(userData: UserData(kind, entry.pointee.id), result: result, flags: flags))
    }

    // MARK: A run

    mutating func run(
        until deadline: MonotonicTime?, into batch: UnsafeMutableBufferPointer<Completion>
    ) throws(SystemError) -> Int {
        // What fills the batch is delivered before there is more: the queue stays in bounds.
        guard completions.count < batch.count else { return completions.take(into: batch) }
        let hasWork = !completions.isEmpty || !ready.isEmpty
        // The sends of a turn have completed at once, as a rule: no need to ask for events before the next. But not
        // twice in a row, else busy channels would keep out all others.
        skippedWait = hasWork && !skippedWait
        if !skippedWait { try serveEvents(until: hasWork ? nil : retries.bound(deadline)) }
        serveReady()
        if !retries.isEmpty { retryConnects() }
        return completions.take(into: batch)
    }

    private mutating func serveEvents(until deadline: MonotonicTime?) throws(SystemError) {
        for event in try poller.wait(until: deadline) {
            // None: the wake-up or the timer, whose purpose is fulfilled.
            let id = RegistrationID(slot: event.slot, generation: event.generation)
            guard let entry = table.find(id) else { continue }
            entry.pointee.readiness.add(event.events)
            if entry.pointee.waiting & EpollEntry.polls != 0 { tellPolls(entry, event.events) }
            if !entry.pointee.isListed { advance(entry) }
        }
    }

    private mutating func serveReady() {
        for index in 0..<dueCount {
            guard let entry = table.find(ready[index]) else { continue }
            entry.pointee.isListed = false
            advance(entry)
        }
        ready.removeFirst(dueCount)
        dueCount = ready.count
    }

    /// There is more to do for this registration, in the next run.
    mutating func list(_ entry: UnsafeMutablePointer<EpollEntry>) {
        guard !entry.pointee.isListed else { return }
        entry.pointee.isListed = true
        ready.append(entry.pointee.id)
    }

    /// Goes on with whatever waits and may succeed now.
    @inline(__always)
    private mutating func advance(_ entry: UnsafeMutablePointer<EpollEntry>) {
        if entry.pointee.readiness.contains(.writable), entry.pointee.waits(for: .connect) { connect(entry) }
        if entry.pointee.readiness.contains(.readable) {
            if entry.pointee.waits(for: .receive) { receive(entry) }
            if entry.pointee.waits(for: .accept) { accept(entry) }
        }
    }
}

extension Operation {
    /// What the operation is about; nil for a cancellation.
    @inline(__always)
    fileprivate var descriptor: Int32? {
        switch self {
        case .accept(let fd), .receive(let fd, _), .receiveMessages(let fd, _), .send(let fd, _, _),
            .sendMessage(let fd, _), .sendMessageZeroCopy(let fd, _), .connect(let fd, _, _), .poll(let fd, _, _):
            fd
        case .cancel:
            nil
        }
    }
}
