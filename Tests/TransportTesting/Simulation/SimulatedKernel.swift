import CRing
import Glibc

@testable import Transport

/// A third handler, beside the ring and epoll: a kernel with a clock, a seed and every right to be awkward that the real
/// ones have. What it completes, when, in which order and how badly is drawn by lot; what it is given it checks.
final class SimulatedKernel: IOHandler {
    /// Rules that a simulated kernel can be made to break, so that a test sees it noticed.
    enum Defect: CaseIterable {
        case repeatsByte, losesByte, endsEarly, keepsBuffer, sendsTwice, swallowsCancellation, losesAccepted
        case forgetsNotification
    }

    /// An operation in flight.
    struct Pending {
        enum Fate {
            case open
            /// A cancellation has found it: it completes for good next, with what it has if it has something.
            case cancelled
            /// A send without copying that has told its result.
            case notifying(HeldBytes)
        }

        let submission: Submission
        var fate = Fate.open
        /// The events that a poll has told last.
        var toldEvents: Int32 = 0

        var name: UserData { submission.userData }
        var isCancelled: Bool { if case .cancelled = fate { true } else { false } }
        var isNotifying: Bool { if case .notifying = fate { true } else { false } }
    }

    let dice: Dice
    let log: SimulationLog
    let defect: Defect?
    var climate: SimulatedClimate
    var buffers: SimulatedBuffers
    var pending: [Pending] = []
    var sockets: [Int32: SimulatedSocket] = [:]
    /// Every socket there ever was, and descriptors that connectors made.
    var allSockets: [SimulatedSocket] = []
    var connecting: [SimulatedDescriptor] = []
    /// Where connectors connect to.
    let harbour: SimulatedHarbour
    /// Where the world's listener accepts.
    let listener: SimulatedHarbour
    /// Buffers that the loop began with; nil before.
    private(set) var firstBufferCount: Int?
    private(set) var moments = 0
    private(set) var staleCount: UInt64 = 0
    private(set) var isDestroyed = false
    private(set) var clock = MonotonicTime(nanoseconds: 1_000_000_000)
    private var completions: [Completion] = []
    private var forgotten: [RegistrationID] = []
    private var isWoken = false

    /// The world around the kernel: called in every moment, when the loop lays itself down to sleep, when it
    /// begins a receive, and when it is given completions.
    var onMoment: () -> Void = {}
    var onSleep: (MonotonicTime) -> Void = { _ in }
    var onReceive: (RegistrationID) -> Void = { _ in }
    var onDelivery: () -> Void = {}
    var wakeup: Wakeup?

    /// A world that goes on for longer does not end.
    private static let momentsMax = 30_000
    /// Moments in one wait.
    private static let patience = 60

    init(dice: Dice, log: SimulationLog, climate: SimulatedClimate, buffers: SimulatedBuffers, defect: Defect?) throws {
        self.dice = dice
        self.log = log
        self.climate = climate
        self.buffers = buffers
        self.defect = defect
        harbour = try SimulatedHarbour()
        listener = try SimulatedHarbour()
    }

    deinit {
        close(harbour.descriptor.fd)
        buffers.deallocate()
    }

    var receiveBuffers: ReceiveBuffers { buffers.all }
    let overflowCount: UInt64 = 0
    let shortageCount: UInt64 = 0

    /// Time goes on while it is looked at.
    var now: MonotonicTime {
        clock = clock + .nanoseconds(dice.below(300))
        return clock
    }

    /// Whether nothing is on its way to the loop.
    var isSilent: Bool { completions.isEmpty }

    /// What is in flight for a registration, one bit for each kind; sends that wait for their notification left out.
    func kindsInFlight(_ id: RegistrationID) -> UInt32 {
        var kinds: UInt32 = 0
        for operation in pending where operation.name.registration == id && !operation.isNotifying {
            kinds |= operation.name.kind?.bit ?? 0
        }
        return kinds
    }

    /// Whether a cancellation has been submitted for the operation, or has found it.
    func isBeingCancelled(_ kind: OperationKind, _ id: RegistrationID) -> Bool {
        pending.contains { operation in
            operation.name.registration == id
                && (operation.name.kind == kind.cancellation || (operation.name.kind == kind && operation.isCancelled))
        }
    }

    /// The near end of a connection comes into being.
    @discardableResult
    func add(_ descriptors: SimulatedDescriptors) -> SimulatedSocket {
        let receiveMax = dice.chance(climate.receiveShort) ? climate.receiveShortMax : buffers.all.size
        let totalMax = min(60_000, climate.floodMax + 200 * receiveMax)
        let socket = SimulatedSocket(descriptors, totalMax: totalMax, dice)
        sockets[socket.fd] = socket
        allSockets.append(socket)
        return socket
    }

    // MARK: What the loop calls

    func enable() {}

    func submit(_ submissions: UnsafeBufferPointer<Submission>) -> Int {
        var taken = submissions.count
        if dice.chance(climate.submitPart) { taken = dice.below(taken + 1) }
        if taken == 0 { log.mark(.submitNothing) } else if taken < submissions.count { log.mark(.submitPart) }
        for submission in submissions[..<taken] { begin(submission) }
        return taken
    }

    private func begin(_ submission: Submission) {
        let id = submission.userData.registration
        log.require(!pending.contains { $0.name == submission.userData }, "two operations with one name")
        log.require(!forgotten.contains(id), "an operation for a registration that is over")
        if forgotten.contains(where: { $0.slot == id.slot }) { log.mark(.slotReused) }
        if case .connect(let fd, _, _) = submission.operation { connecting.append(SimulatedDescriptor(fd)) }
        if case .receive = submission.operation { onReceive(id) }
        pending.append(Pending(submission: submission))
    }

    func run(
        until deadline: MonotonicTime?, into batch: UnsafeMutableBufferPointer<Completion>
    ) throws(SystemError) -> Int {
        if let deadline, completions.isEmpty { onSleep(deadline) }
        moment()
        if let deadline { wait(until: deadline) }
        guard moments < Self.momentsMax else {
            log.require(false, "the loop does not end")
            throw SystemError("simulation", code: ETIME)
        }
        return deliver(batch)
    }

    private func wait(until deadline: MonotonicTime) {
        if deadline <= clock { log.mark(.zeroTimeout) }
        for _ in 0..<Self.patience where completions.isEmpty {
            if dice.chance(climate.spuriousWake) { return log.mark(.spuriousWake) }
            var step = Duration.microseconds(dice.upTo(2000))
            if dice.chance(climate.clockJump) {
                step = .seconds(dice.upTo(10))
                log.mark(.clockJumped)
            }
            let next = clock + step
            if next < deadline {
                clock = next
            } else {
                clock = max(clock, deadline)
                return log.mark(.sleptToDeadline)
            }
            moment()
        }
    }

    private func deliver(_ batch: UnsafeMutableBufferPointer<Completion>) -> Int {
        var count = min(batch.count, completions.count)
        if count == batch.count { log.mark(.batchFull) }
        if count > 0 { onDelivery() }
        if count > 1, dice.chance(climate.batchPart) {
            count = dice.upTo(count - 1)
            log.mark(.batchPart)
        }
        for index in 0..<count { batch[index] = completions[index] }
        completions.removeFirst(count)
        return count
    }

    func handle(_ completion: Completion) {
        isWoken = false
        wakeup?.drain()
    }

    func giveBuffers(_ ids: UnsafeBufferPointer<UInt16>, size: Int) {
        if firstBufferCount == nil { firstBufferCount = ids.count }
        for (index, id) in ids.enumerated() {
            if defect == .keepsBuffer, index == 0, dice.chance(50) { continue }
            log.require(buffers.give(id, size: size), "buffer \(id) given that the kernel has")
        }
    }

    func forget(_ id: RegistrationID) {
        log.require(
            !pending.contains { $0.name.registration == id && !$0.isNotifying },
            "a registration ends with more in flight")
        if pending.contains(where: { $0.name.registration == id }) { log.mark(.notificationAfterRelease) }
        forgotten.append(id)
    }

    func destroy() {
        log.require(pending.isEmpty && completions.isEmpty, "destroyed with operations in flight")
        isDestroyed = true
    }

    // MARK: Time

    private func moment() {
        moments += 1
        clock = clock + .nanoseconds(dice.below(20_000))
        onMoment()
        wake()
        var names = pending.map(\.name)
        dice.shuffle(&names)
        for name in names where dice.chance(climate.progress) { advance(name) }
        if dice.chance(climate.stale) { completeStale() }
    }

    /// The eventfd is readable: as the real handlers' polls tell.
    private func wake() {
        guard let wakeup, !isWoken else { return }
        var waiting = pollfd(fd: wakeup.fd, events: Int16(POLLIN), revents: 0)
        guard Glibc.poll(&waiting, 1, 0) == 1 else { return }
        isWoken = true
        log.mark(.woken)
        completions.append(
            Completion(userData: UserData(.poll, .handler), result: POLLIN, flags: UInt32(CRING_COMPLETION_MORE)))
    }

    func advance(_ name: UserData) {
        guard let index = pending.firstIndex(where: { $0.name == name }) else { return }
        let operation = pending[index]
        if case .notifying(let held) = operation.fate { return notify(name, held) }
        switch operation.submission.operation {
        case .receive(let fd, let multishot):
            receive(name, fd, multishot: multishot)
        case .send(let fd, let bytes, let count):
            send(operation, fd, [UnsafeRawBufferPointer(start: bytes, count: Int(count))])
        case .sendMessage(let fd, let message):
            log.mark(.sendGathered)
            send(operation, fd, Self.pieces(of: message.pointee))
        case .sendMessageZeroCopy(let fd, let message):
            sendWithoutCopying(operation, fd, Self.pieces(of: message.pointee))
        case .poll(let fd, let wanted, let isMultishot):
            poll(index, fd, wanted: Int32(wanted), isMultishot: isMultishot)
        case .accept:
            accept(name)
        case .connect(let fd, _, _):
            connect(operation, fd)
        case .cancel(let target):
            cancel(name, target)
        case .receiveMessages:
            log.require(false, "datagrams are not simulated")
        }
    }

    // MARK: Completing

    /// Tells a completion; without `more` it is the operation's last.
    func complete(_ name: UserData, _ result: Int32, _ flags: UInt32 = 0, more: Bool = false) {
        let flags = flags | (more ? UInt32(CRING_COMPLETION_MORE) : 0)
        completions.append(Completion(userData: name, result: result, flags: flags))
        if !more { pending.removeAll { $0.name == name } }
    }

    /// The socket of an operation, which must be there as long as the operation is.
    func socket(_ fd: Int32) -> SimulatedSocket? {
        let socket = sockets[fd]
        log.require(socket.map { !$0.isClosed } ?? false, "an operation on a descriptor that is closed")
        return socket
    }

    /// A completion for a registration that is over: its slot may have a new owner.
    private func completeStale() {
        guard !forgotten.isEmpty else { return }
        let id = dice.one(of: forgotten)
        guard !pending.contains(where: { $0.name.registration == id }) else { return }
        let kind = dice.one(of: [OperationKind.receive, .send, .poll, .cancelReceive])
        var flags: UInt32 = dice.chance(50) ? UInt32(CRING_COMPLETION_MORE) : 0
        var result = Int32(dice.below(100)) - 50
        if kind == .receive, buffers.room > 0, dice.chance(50) {
            result = Int32(dice.upTo(buffers.room))
            let part = buffers.take(Int(result), retired: false)
            flags |= Self.flags(of: part)
            log.mark(.staleBufferReturned)
        }
        log.mark(.staleDropped)
        staleCount += 1
        completions.append(Completion(userData: UserData(kind, id), result: result, flags: flags))
    }

    static func flags(of part: (id: UInt16, memory: UnsafeMutableRawBufferPointer, goesOn: Bool)) -> UInt32 {
        UInt32(CRING_COMPLETION_BUFFER) | UInt32(part.id) << 16
            | (part.goesOn ? UInt32(CRING_COMPLETION_BUFFER_MORE) : 0)
    }
}
