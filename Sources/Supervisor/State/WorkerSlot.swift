import Handoff
import Transport

/// One place for a worker: the process in it now, what it was given, and what is known of its load.
struct WorkerSlot: Sendable, Codable {
    enum State: Equatable, Sendable, Codable {
        /// No process, and none planned: not started yet, retired, or the supervisor is stopping.
        case vacant
        /// No process; the next one starts then.
        case backingOff(until: MonotonicTime)
        /// Spawned, not READY; killed at the deadline.
        case starting(deadline: MonotonicTime)
        /// Takes traffic.
        case ready
        /// Told to drain: gets nothing more; killed then.
        case draining(killAt: MonotonicTime)
        /// About to exit for whatever reason: gets nothing more; killed then, or (nil) killed already.
        case dying(killAt: MonotonicTime?)
    }

    let index: Int
    private(set) var state = State.vacant
    private(set) var role = WorkerRole.free
    /// The member's number among the wanted, which its successor inherits. Source hashing goes by it.
    private(set) var seat = 0
    /// What its processes are spawned for.
    private(set) var generation: Generation = 0
    /// The next process's incarnation.
    private var incarnationNext: UInt32 = 0
    private(set) var inflight = InflightQueue()
    /// As last read from the page.
    private(set) var live: UInt32 = 0
    private var credit: UInt32 = 0
    /// How many connections this incarnation can have; nil before its page has shown it.
    private var capacity: Int?
    private(set) var pulse = Pulse()
    /// How many sockets this incarnation adopted: it cannot have more connections than that.
    private(set) var adoptedCount: UInt64 = 0
    /// How many of these another worker had given up.
    private(set) var movedCount: UInt64 = 0
    /// Connections that were taken from it after its death: they are not lost with it.
    private var savedCount: UInt32 = 0
    /// Whether this incarnation can offer connections and take offered ones.
    var migrates = false
    /// Whether this incarnation was told to offer its connections; nil when the program that froze this did not say.
    var isToOffer: Bool?
    /// Whether an offer of this incarnation was refused.
    var wasRefused = false
    /// Resident bytes, as last told.
    var memory: UInt64 = 0
    /// Whether it was started because another one had grown too large, and whether it was said that it is as large.
    private(set) var isLargeOnesSuccessor = false
    private var hasComplained = false
    /// By how much its limits of age and the like are varied.
    private(set) var limitPermille: UInt64 = 1_000
    private(set) var spawnedAt = MonotonicTime(nanoseconds: 0)
    private(set) var readySince: MonotonicTime?
    /// Until when nothing is sent because the last attempt failed.
    private(set) var busyUntil: MonotonicTime?
    /// What the process said about its exit.
    private var failure: ExitCode?
    /// Deaths in a row, for the delay; boots in a row that did not reach READY; restarts ever.
    private var deaths = 0
    private(set) var failedBoots = 0
    private(set) var restarts = 0

    init(index: Int) {
        self.index = index
    }

    /// The process in the slot, or the last one.
    var worker: WorkerID { WorkerID(slot: index, incarnation: incarnationNext &- 1) }

    /// Whether there is a process that has not been reaped.
    var isLiving: Bool {
        switch state {
        case .vacant, .backingOff: false
        case .starting, .ready, .draining, .dying: true
        }
    }

    var isStarting: Bool {
        if case .starting = state { return true }
        return false
    }

    /// Connections it has or is about to have.
    var load: Int { Int(live) + inflight.count }

    /// Whether sockets go to it.
    var takesTraffic: Bool { role == .member && state == .ready && !pulse.isStalled }

    /// Whether its loop stood still for so long, and nothing was done about it.
    func isHung(_ timeout: Duration, now: MonotonicTime) -> Bool {
        switch state {
        case .ready, .draining: pulse.stoodStill(for: timeout, now: now)
        case .vacant, .backingOff, .starting, .dying: false
        }
    }

    /// How well the pool can do without this member: those that do not serve first, then the youngest.
    var dispensability: (Int, MonotonicTime, Int) {
        let rank =
            switch state {
            case .vacant: 4
            case .backingOff: 3
            case .dying, .draining: 2
            case .starting: 1
            case .ready: pulse.isStalled ? 1 : 0
            }
        return (rank, spawnedAt, index)
    }

    /// Whether it understands such a socket.
    func canTake(_ held: HeldSocket) -> Bool { migrates || !held.isOffered }

    /// Connections it can take according to its page, less what is on the way.
    var spare: Int { takesTraffic ? max(0, Int(credit) - inflight.count) : 0 }

    /// Whether it has all the connections that it can have. No credit alone does not say so: one that has just become ready
    /// shows none yet, and one that an operator's signal makes drain none any more.
    var isFull: Bool { spare == 0 && capacity.map { load >= $0 } ?? false }

    /// Sockets that may be sent to it now.
    func room(inflightMax: Int) -> Int {
        busyUntil == nil ? min(spare, max(0, inflightMax - inflight.count)) : 0
    }

    /// The next time at which the slot itself needs attention; a back-off is up to the whole pool.
    var nextDeadline: MonotonicTime {
        let own: MonotonicTime =
            switch state {
            case .vacant, .backingOff, .ready, .dying(killAt: nil): .distantFuture
            case .starting(let deadline): deadline
            case .draining(let killAt), .dying(.some(let killAt)): killAt
            }
        return min(own, busyUntil ?? .distantFuture)
    }

    // MARK: Its part in the pool

    /// A free slot is wanted.
    mutating func appoint(_ role: WorkerRole, seat: Int, generation: Generation) {
        precondition(self.role == .free && state == .vacant)
        (self.role, self.seat, self.generation) = (role, seat, generation)
        (deaths, failedBoots, restarts) = (0, 0, 0)
        (isLargeOnesSuccessor, hasComplained) = (false, false)
    }

    /// It is to take the place of one that had grown too large.
    mutating func succeedsLarge() { isLargeOnesSuccessor = true }

    /// Returns whether it is the first time.
    mutating func complain() -> Bool {
        defer { hasComplained = true }
        return !hasComplained
    }

    /// It gets another number among the wanted.
    mutating func sit(_ seat: Int) { self.seat = seat }

    /// A candidate becomes a member.
    mutating func promote() {
        precondition(role == .candidate)
        role = .member
    }

    /// It is not wanted any more: no further process, and free when there is none.
    mutating func retire() {
        if case .backingOff = state { state = .vacant }
        role = isLiving ? .retired : .free
    }

    // MARK: A process's life

    /// The slot gets a process.
    mutating func spawn(bootDeadline: MonotonicTime, now: MonotonicTime) -> WorkerID {
        precondition(!isLiving && inflight.isEmpty && (role == .member || role == .candidate))
        if case .backingOff = state { restarts += 1 }
        incarnationNext &+= 1
        inflight = InflightQueue()
        pulse = Pulse()
        (live, credit, adoptedCount, movedCount, memory) = (0, 0, 0, 0, 0)
        capacity = nil
        (migrates, isToOffer, wasRefused, savedCount) = (false, false, false, 0)
        (readySince, busyUntil, failure) = (nil, nil, nil)
        spawnedAt = now
        state = .starting(deadline: bootDeadline)
        return worker
    }

    /// READY. False if nobody waited for it.
    mutating func becomeReady(now: MonotonicTime, random: inout SplitMix64) -> Bool {
        guard isStarting else { return false }
        state = .ready
        readySince = now
        failedBoots = 0
        limitPermille = 900 + random.next() % 201
        return true
    }

    /// It is told to drain, perhaps again: an earlier time to be killed stands.
    mutating func drain(killAt: MonotonicTime) {
        switch state {
        case .ready: state = .draining(killAt: killAt)
        case .draining(let earlier): state = .draining(killAt: min(earlier, killAt))
        case .vacant, .backingOff, .starting, .dying: preconditionFailure("only a ready worker can drain")
        }
    }

    /// It is about to leave, and is killed if it does not. An earlier time to be killed stands.
    mutating func leave(killAt: MonotonicTime) {
        switch state {
        case .vacant, .backingOff, .dying(killAt: nil): break
        case .starting, .ready: state = .dying(killAt: killAt)
        case .draining(let earlier), .dying(.some(let earlier)): state = .dying(killAt: min(earlier, killAt))
        }
    }

    /// It is killed now. False if it was before, or there is none.
    mutating func kill() -> Bool {
        guard isLiving, state != .dying(killAt: nil) else { return false }
        state = .dying(killAt: nil)
        return true
    }

    /// One of its connections was taken from what it left behind.
    mutating func saved() { savedCount += 1 }

    mutating func fail(_ code: ExitCode) {
        failure = code
    }

    /// The process is reaped: what it leaves behind, and what it says about its end.
    mutating func bury(_ status: ExitStatus, now: MonotonicTime) -> Obituary {
        precondition(isLiving)
        if readySince == nil { failedBoots += 1 }
        defer {
            state = .vacant
            if role == .retired { role = .free }
            live = 0
            busyUntil = nil
        }
        var code = failure
        if code == nil, case .code(let number) = status { code = ExitCode(rawValue: number) }
        return Obituary(
            code: code, readyFor: readySince.map { now - $0 }, lost: live - min(live, savedCount),
            unadopted: inflight.removeAll())
    }

    struct Obituary {
        /// The code it exited with or, before that, announced.
        let code: ExitCode?
        let readyFor: Duration?
        /// Connections that died with it.
        let lost: UInt32
        let unadopted: [HeldSocket]
    }

    /// Plans the next process, and says after which delay.
    mutating func backOff(
        _ policy: RestartPolicy, readyFor: Duration?, now: MonotonicTime, random: inout SplitMix64
    ) -> Duration {
        precondition(state == .vacant)
        let delay = policy.delay(deaths: &deaths, readyFor: readyFor, random: &random)
        state = .backingOff(until: now + delay)
        return delay
    }

    /// No process is planned any more.
    mutating func abandonBackOff() {
        if case .backingOff = state { state = .vacant }
    }

    // MARK: Traffic

    mutating func assign(_ socket: HeldSocket) {
        assert(takesTraffic && busyUntil == nil)
        inflight.append(socket)
    }

    mutating func nextBatch(max: Int) -> (first: SequenceNumber, sockets: [SocketID])? {
        inflight.nextBatch(max: max)
    }

    /// Checks and takes in a reading. Nil if no honest worker can have written it; then nothing has changed.
    mutating func absorb(_ reading: PageReading) -> (adopted: [SocketID], rejected: [HeldSocket])? {
        let offeredBefore = inflight.offeredCount
        guard let settled = inflight.settle(adopted: reading.adopted, rejected: reading.rejected) else { return nil }
        movedCount += UInt64(offeredBefore - inflight.offeredCount - settled.rejected.count(where: \.isOffered))
        adoptedCount += UInt64(settled.adopted.count)
        live = UInt32(min(UInt64(reading.live), adoptedCount))
        credit = reading.credit
        // The least that was seen: the two are not written at once. One that drains shows no credit, whatever it can have.
        if credit > 0 { capacity = min(capacity ?? .max, Int(live) + Int(credit)) }
        return settled
    }

    /// Takes in the heartbeat of a worker whose loop must turn.
    mutating func feelPulse(_ heartbeat: MonotonicTime, now: MonotonicTime) -> Pulse.Change? {
        switch state {
        case .ready, .draining: pulse.look(heartbeat, now: now)
        case .vacant, .backingOff, .starting, .dying: nil
        }
    }

    /// Nobody looked, or could beat, since the last look.
    mutating func skipPulse(to now: MonotonicTime) { pulse.skip(to: now) }

    /// A packet did not go out: its sockets, and all assigned after them.
    mutating func takeBack(from sequence: SequenceNumber) -> [HeldSocket] {
        inflight.takeBack(from: sequence)
    }

    /// Takes out all that is in flight, because the worker's word is worth nothing.
    mutating func disown() -> [HeldSocket] {
        inflight.removeAll()
    }

    mutating func holdOff(until: MonotonicTime) {
        busyUntil = max(until, busyUntil ?? until)
    }

    mutating func endHoldOff(now: MonotonicTime) {
        if let until = busyUntil, until <= now { busyUntil = nil }
    }
}
