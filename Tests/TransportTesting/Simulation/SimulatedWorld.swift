import Glibc

@testable import Transport

/// A loop on a simulated kernel, with peers, services, timers and tasks that do what they may, in an order that the seed
/// alone decides; and what must hold of it.
///
/// After a storm of faults comes a calm, in which every connection must come to its end by itself, or a stop in the middle of
/// the storm. Unchecked Sendable, for tasks: everything happens on the test's own thread.
final class SimulatedWorld: @unchecked Sendable {
    enum Phase {
        case stormy
        case calm
        case stopping
    }

    let dice: Dice
    let log = SimulationLog()
    let kernel: SimulatedKernel
    let remote: EventLoopRemote
    let loop: EventLoop
    private(set) var phase = Phase.stormy
    var liveConnections = 0
    /// The timers that are armed.
    private(set) var timers: [Int: LoopTimer] = [:]
    private var timersMade = 0
    private(set) var connections: [SimulatedConnection] = []
    private(set) var witnesses: [SimulatedWitness] = []
    private var listener: Listener?
    private var isListenerClosed = false
    private var connectsPending = 0
    private var tasks = (taken: 0, run: 0)
    private var memory: [SimulatedMemory] = []
    private let stormMoments: Int
    private let stopsInStorm: Bool
    private let isIncremental: Bool

    private static let connectionsMax = 8
    private static let calmMomentsMax = 12_000

    init(seed: UInt64, defect: SimulatedKernel.Defect? = nil) throws {
        dice = Dice(seed: seed)
        stormMoments = dice.one(of: [30, 100, 300])
        stopsInStorm = dice.chance(30)
        var climate = SimulatedClimate.random(dice)
        var configuration = EventLoopConfiguration()
        configuration.stopTimeout = .seconds(1_000_000)
        isIncremental = dice.chance(30)
        configuration.receiveBuffers = Self.buffers(dice, isIncremental: isIncremental)
        if isIncremental, dice.chance(15) {
            climate.flood()
            configuration.receiveBuffers.size = 16_384
        }
        let buffers = SimulatedBuffers(
            count: Int(configuration.receiveBuffers.countBound), size: Int(configuration.receiveBuffers.size),
            isIncremental: isIncremental)
        kernel = try SimulatedKernel(dice: dice, log: log, climate: climate, buffers: buffers, defect: defect)
        remote = try EventLoopRemote()
        kernel.wakeup = remote.wakeup
        loop = EventLoop(handler: kernel, remote: remote, configuration: configuration)
    }

    private static func buffers(_ dice: Dice, isIncremental: Bool) -> ReceiveBufferConfiguration {
        var configuration = ReceiveBufferConfiguration()
        configuration.count = UInt32(dice.upTo(dice.one(of: [1, 4, 16])))
        configuration.size = dice.one(of: [16, 256, 4096])
        if dice.chance(40) { configuration.countMax = configuration.count * 8 }
        if !isIncremental, dice.chance(40) { configuration.sizeMin = configuration.size / 16 }
        return configuration
    }

    /// One life; what went wrong in it.
    func run() -> [String] {
        kernel.onMoment = { [unowned self] in live() }
        kernel.onSleep = { [unowned self] in checkSleep(until: $0) }
        kernel.onReceive = { [unowned self] in checkReceive($0) }
        kernel.onDelivery = { [unowned self] in noteDelivery() }
        remote.execute { [self] _ in begin() }
        do throws(SystemError) {
            let unfinished = try loop.run()
            log.require(unfinished == 0, "\(unfinished) channels unfinished")
        } catch {
            log.require(false, "the loop fails: \(error)")
        }
        // What follows from a broken rule would only hide it.
        if log.violations.isEmpty { audit() }
        return log.violations
    }

    /// What tells this world's history from another's.
    var story: [UInt64] {
        [
            UInt64(kernel.moments), kernel.clock.nanoseconds, loop.statistics.completions, loop.statistics.turns,
            UInt64(witnesses.count), witnesses.reduce(0) { $0 + $1.received },
            witnesses.reduce(0) { $0 + $1.socket.sent },
        ]
    }

    private func begin() {
        listener = Listener(loop, fd: kernel.listener.descriptor.fd) { [unowned self] in accepted($0) }
        listener?.resume()
        for _ in 0..<dice.below(4) { pair() }
        for _ in 0..<dice.below(3) { connectOut() }
    }

    // MARK: A moment

    private func live() {
        for socket in kernel.allSockets {
            if phase == .calm { socket.calm() }
            socket.live(kernel.climate, dice, log)
        }
        switch phase {
        case .stormy:
            storm()
            if kernel.moments >= stormMoments { stopsInStorm ? stop() : calm() }
        case .calm:
            if isOver { return stop() }
            guard kernel.moments > stormMoments + Self.calmMomentsMax else { return }
            log.require(false, "no peace in a calm world: \(unfinishedBusiness)")
            stop()
        case .stopping:
            break
        }
    }

    private func storm() {
        let climate = kernel.climate
        if dice.chance(climate.arrivals), kernel.listener.isOpen, hasRoom {
            do { try kernel.listener.arrive() } catch { log.require(false, "no client: \(error)") }
        }
        guard dice.chance(climate.foreignTask) else { return }
        // As from another thread, while the loop waits.
        execute { [self] in
            switch dice.below(10) {
            case 0: if hasRoom { connectOut() }
            case 1: if hasRoom { pair() }
            case 2: dice.chance(50) ? listener?.pause() : listener?.resume()
            default: if !connections.isEmpty { dice.one(of: connections).act() }
            }
        }
    }

    private var hasRoom: Bool {
        connections.count + connectsPending + kernel.listener.unclaimedCount < Self.connectionsMax
    }

    private var isOver: Bool {
        connections.isEmpty && isListenerClosed && connectsPending == 0 && witnesses.allSatisfy { $0.end != nil }
    }

    private var unfinishedBusiness: String {
        let stuck = connections.map {
            "\($0.witness.number): \($0.state.pointee.read), output \($0.state.pointee.output)"
        }
        return "connections \(stuck), \(connectsPending) connecting, listener closed: \(isListenerClosed)"
    }

    private func calm() {
        phase = .calm
        kernel.climate = .calm
        execute { [self] in
            for connection in connections { connection.makePeace() }
            listener?.drainAndClose { [unowned self] in
                isListenerClosed = true
                if kernel.listener.unclaimedCount == 0 { log.mark(.acceptDrained) }
                log.require(kernel.listener.unclaimedCount == 0, "a listener drained leaves connections behind")
            }
        }
    }

    private func stop() {
        if phase == .stormy { log.mark(.stoppedInStorm) }
        phase = .stopping
        kernel.climate.stale = 0
        kernel.climate.batchPart = 0
        for witness in witnesses { witness.ask(.loopStopped) }
        if dice.chance(70) {
            remote.stop()
        } else {
            remote.shutdownGracefully(quietPeriod: .milliseconds(dice.below(50)), timeout: .seconds(1))
        }
    }

    // MARK: Connections

    private func accepted(_ fd: Int32) {
        guard let client = kernel.listener.claim() else {
            return log.require(false, "a connection accepted that nobody made")
        }
        open(SimulatedDescriptors(near: fd, far: client))
    }

    /// A connection that was there before.
    private func pair() {
        do {
            if dice.chance(60) { return open(.unixPair()) }
            open(try kernel.harbour.join(Socket.stream(AF_INET)))
        } catch {
            log.require(false, "no pair: \(error)")
        }
    }

    private func open(_ descriptors: SimulatedDescriptors) {
        open(kernel.add(descriptors))
    }

    private func open(_ socket: SimulatedSocket) {
        let witness = SimulatedWitness(witnesses.count, socket, log)
        if phase == .stopping { witness.ask(.loopStopped) }
        witnesses.append(witness)
        start(SimulatedConnection(self, witness))
    }

    private func start(_ connection: SimulatedConnection) {
        connections.append(connection)
        connection.begin()
    }

    func ended(_ connection: SimulatedConnection) {
        connections.removeAll { $0 === connection }
    }

    private func connectOut() {
        connectsPending += 1
        var configuration = ConnectorConfiguration()
        configuration.timeout = dice.chance(50) ? .milliseconds(dice.below(20)) : .seconds(60)
        var isTold = false
        let connector = Connector.connect(loop, to: kernel.harbour.address, configuration) { [unowned self] result in
            log.require(!isTold, "a connector tells twice")
            isTold = true
            connectsPending -= 1
            guard case .success(let connected) = result else { return }
            guard let socket = kernel.sockets[connected.fd] else {
                return log.require(false, "connected without a connection")
            }
            open(socket)
        }
        if dice.chance(15) { loop.executeAtEndOfTurn { connector?.cancel() } }
    }

    /// Lets a connection change its owner: it stays at this loop, since there is no other in this world.
    func detach(_ connection: SimulatedConnection) {
        let witness = connection.witness
        connection.detach { [unowned self] detached in
            witness.detached(detached.remainder)
            ended(connection)
            if dice.chance(15) { return drop(detached, witness) }
            let isTaken = remote.adopt(detached) { [self] _, detached in
                log.mark(.adopted)
                start(SimulatedConnection(self, witness, detached))
            }
            if !isTaken { witness.dropped() }
        }
    }

    private func drop(_ detached: consuming DetachedConnection, _ witness: SimulatedWitness) {
        _ = consume detached
        witness.dropped()
    }

    func randomConfiguration() -> ConnectionConfiguration {
        var configuration = ConnectionConfiguration()
        configuration.lowWaterMark = dice.below(1000)
        configuration.highWaterMark = configuration.lowWaterMark + dice.below(5000)
        configuration.queuedBytesMax = dice.one(of: [20_000, 200_000, 1 << 20])
        configuration.queuedSegmentsMax = dice.one(of: [2, 1024])
        configuration.zeroCopyThreshold = dice.one(of: [nil, nil, 1, 200, 10_000])
        configuration.isShared = dice.chance(20)
        return configuration
    }

    // MARK: Timers, tasks and memory

    func arm(_ action: @escaping () -> Void) {
        timersMade += 1
        let number = timersMade
        let timer = LoopTimer(loop) { [unowned self] in
            let timer = timers.removeValue(forKey: number)
            log.require(timer != nil, "a timer fires that is not armed")
            log.require(timer.map { !$0.isArmed } ?? true, "a timer is armed after it has fired")
            action()
        }
        timer.arm(after: dice.one(of: [.zero, .microseconds(dice.below(500)), .milliseconds(dice.below(50))]))
        timers[number] = timer
        if dice.chance(10) { timers.removeValue(forKey: number)?.cancel() }
    }

    func execute(_ action: @escaping () -> Void) {
        let task = SimulatedTask(action)
        let isTaken = remote.execute { [self] _ in
            tasks.run += 1
            task.action()
        }
        log.require(isTaken || phase == .stopping, "a task is refused")
        if isTaken { tasks.taken += 1 }
    }

    func lend(_ count: Int) -> SimulatedMemory {
        memory.append(SimulatedMemory(count))
        return memory[memory.count - 1]
    }

    // MARK: What must hold at the end

    private func audit() {
        log.require(kernel.isDestroyed, "the handler is not destroyed")
        log.require(loop.channelCount == 0, "a registration is left")
        log.require(loop.chunks.takenCount == 0, "\(loop.chunks.takenCount) chunks are left")
        log.require(connections.isEmpty && liveConnections == 0, "\(liveConnections) connections are kept alive")
        log.require(connectsPending == 0, "a connector has not told")
        log.require(tasks.taken == tasks.run, "\(tasks.taken) tasks taken, \(tasks.run) run")
        log.require(memory.allSatisfy(\.isReturned), "uncopied memory is not given back")
        for witness in witnesses { log.require(witness.end != nil, "connection \(witness.number) has not ended") }
        for socket in kernel.allSockets { log.require(!socket.descriptors.near.isOpen, "a descriptor is left open") }
        for descriptor in kernel.connecting { log.require(!descriptor.isOpen, "a connector's descriptor is left open") }
        log.require(!kernel.listener.isOpen, "the listener's descriptor is left open")
        let statistics = loop.statistics
        log.require(statistics.staleCompletions == kernel.staleCount, "stale completions miscounted")
        let count = Int(statistics.receiveBufferCount)
        log.require(kernel.buffers.freeCount == count, "\(kernel.buffers.freeCount) of \(count) buffers are back")
        if count > kernel.firstBufferCount ?? count { log.mark(.buffersAdded) }
        if kernel.buffers.sizesGiven.count > 1 { log.mark(.sizeLearned) }
    }
}

/// Carries a closure into a task. Unchecked Sendable: the task runs on the thread that made it.
private struct SimulatedTask: @unchecked Sendable {
    let action: () -> Void
    init(_ action: @escaping () -> Void) { self.action = action }
}
