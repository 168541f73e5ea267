@testable import Transport

/// A connection whose service does anything it may, by lot. But for file regions and descriptor messages, which go by plain
/// calls to the real kernel.
final class SimulatedConnection: Connection {
    let world: SimulatedWorld
    let witness: SimulatedWitness
    private var dice: Dice { world.dice }

    init(_ world: SimulatedWorld, _ witness: SimulatedWitness) {
        self.world = world
        self.witness = witness
        super.init(world.loop, fd: witness.socket.fd, configuration: world.randomConfiguration())
        world.liveConnections += 1
    }

    init(_ world: SimulatedWorld, _ witness: SimulatedWitness, _ detached: consuming DetachedConnection) {
        self.world = world
        self.witness = witness
        super.init(world.loop, detached, configuration: world.randomConfiguration())
        world.liveConnections += 1
    }

    deinit { world.liveConnections -= 1 }

    func begin() {
        let reading = dice.chance(80)
        witness.started(reading: reading)
        if world.phase == .stormy, dice.chance(20) { write(dice.upTo(100)) }
        if isClosing {
            // Too much was written, a former owner's bytes included: never started, it is not told.
            witness.closed(.writeQueueOverflow)
            return world.ended(self)
        }
        start(reading: reading)
        if world.phase == .calm { makePeace() }
    }

    // MARK: What it is told

    override func received(_ bytes: RawSpan) {
        bytes.withUnsafeBytes { witness.received($0) }
        react()
    }

    override func inputEnded() {
        witness.inputEnded()
        if world.phase != .stormy || dice.chance(60) { finishOutput() }
        react()
    }

    override func inputEnding() {
        witness.inputEnding()
        react()
    }

    override func becameWritable() {
        witness.progressed("becameWritable")
        react()
    }

    override func flushed() {
        witness.progressed("flushed")
        world.log.require(queuedBytes == 0, "flushed with bytes queued")
        react()
    }

    override func closed(_ reason: CloseReason) {
        witness.closed(reason)
        world.ended(self)
        guard dice.chance(20) else { return }
        // All of it without effect.
        pauseReading()
        resumeReading()
        close()
        let isQueued = withUnsafeBytes(of: 7) { write($0) }
        world.log.require(!isQueued, "bytes queued behind the end")
        world.log.require(!detach { _ in }, "detached behind the end")
    }

    private func react() {
        if world.phase == .stormy, dice.chance(world.kernel.climate.reaction) { act() }
    }

    // MARK: What it does

    /// Something that a service may do at any time.
    func act() {
        guard world.phase == .stormy else { return }
        switch dice.below(24) {
        case 0...5: write(dice.upTo(dice.one(of: [10, 300, 5000, 40_000])))
        case 6, 7: writeUncopied(dice.upTo(dice.one(of: [100, 20_000])))
        case 8, 9: pause()
        case 10...12: resume()
        case 13:
            pause()
            resume()
            pause()
        case 14: if dice.chance(40) { finishOutput() }
        case 15: if dice.chance(30) { end(.closed) }
        case 16: if dice.chance(30) { end(.aborted) }
        case 17: if dice.chance(60) { world.detach(self) }
        case 18, 19: world.arm { [weak self] in self?.act() }
        case 20: world.execute { [weak self] in self?.act() }
        case 21: loop.executeAtEndOfTurn { [weak self] in self?.act() }
        case 22:
            write(dice.upTo(2000))
            if dice.chance(30) { end(.closed) }
        default:
            pause()
            world.execute { [weak self] in self?.resume() }
        }
    }

    /// The storm is over: read to the end, and send FIN.
    func makePeace() {
        resume()
        finishOutput()
    }

    private func pause() {
        witness.setReading(false)
        pauseReading()
    }

    private func resume() {
        witness.setReading(true)
        resumeReading()
    }

    func end(_ reason: CloseReason) {
        if isDetaching { world.log.mark(.detachAbandoned) }
        witness.ask(reason)
        if reason == .aborted { abort() } else { close() }
    }

    private func write(_ count: Int) {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 1)
        defer { memory.deallocate() }
        witness.socket.outgoing.copy(to: memory, from: witness.socket.written)
        written(count) { write(UnsafeRawBufferPointer(memory)) }
    }

    private func writeUncopied(_ count: Int) {
        let memory = world.lend(count)
        witness.socket.outgoing.copy(to: memory.bytes, from: witness.socket.written)
        world.log.mark(.uncopiedSent)
        written(count) {
            write(uncopied: UnsafeRawBufferPointer(memory.bytes)) { [log = world.log] in memory.giveBack(log) }
        }
    }

    /// A write is taken whole or not at all, and not at all only for a reason.
    private func written(_ count: Int, _ write: () -> Bool) {
        let fits = count <= configuration.queuedBytesMax - queuedBytes
        let isOpen = !isClosing && !isOutputFinished
        if isOpen, !fits || !hasRoomForSegments { witness.ask(.writeQueueOverflow) }
        let isQueued = write()
        world.log.require(isQueued == (isOpen && fits) || !hasRoomForSegments, "a write of \(count) is refused or not")
        if isQueued { witness.socket.written += UInt64(count) }
    }

    private var hasRoomForSegments: Bool {
        state.pointee.queue.segmentCount < configuration.queuedSegmentsMax
    }
}
