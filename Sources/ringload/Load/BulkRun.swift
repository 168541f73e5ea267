import Transport

/// A run of streams: as many bytes as will flow.
final class BulkRun: LoadRun {
    /// Bytes handed to the connection at once, from where they lie.
    static let pieceBytes = 128 * 1024

    let direction: BulkDirection
    private let request: [UInt8]
    private var connections: [BulkConnection?]
    /// Bytes that had flowed when the measured phase began.
    private var bytesBefore: UInt64 = 0
    /// Bytes of the connections that have ended.
    private var bytesOfEnded: UInt64 = 0

    init(
        _ loop: EventLoop, _ plan: LoadPlan, progress: @escaping (String) -> Void,
        reported: @escaping (LoadReport) -> Void
    ) {
        guard case .bulk(let direction, let request) = plan.kind else {
            preconditionFailure("a bulk run has a direction")
        }
        self.direction = direction
        self.request = request
        connections = Array(repeating: nil, count: plan.connections)
        super.init(loop, plan, pieceMax: Self.pieceBytes, progress: progress, reported: reported)
    }

    var verifies: Bool { plan.verifies && direction == .echo }

    override func connected(_ fd: Int32, index: Int, startedAt: UInt64) {
        tally.pointee.connectLatency.record(from: startedAt, to: loop.turnTime.nanoseconds)
        let connection = BulkConnection(self, fd: fd, index: index)
        connections[index] = connection
        connection.start()
    }

    override func beginSending() {
        for case let connection? in connections {
            switch direction {
            case .echo, .send: connection.fill()
            case .receive: request.withUnsafeBytes { _ = connection.write($0) }
            }
        }
    }

    override func beginDraining() {
        guard direction != .echo else { return }
        for case let connection? in connections { connection.finish() }
    }

    override var isDrained: Bool {
        direction == .echo ? connections.allSatisfy { $0?.isEchoed ?? true } : live == 0
    }

    /// Of an echo: connections whose bytes are not all back. What a receiver or a sender leaves open is no fault.
    override func abandonUnanswered() {
        for case let connection? in connections { abandonBytes(of: connection) }
    }

    private func abandonBytes(of connection: BulkConnection) {
        guard direction == .echo, !connection.isEchoed else { return }
        tally.pointee.unanswered += 1
        if connection.bytesReceived == 0 { tally.pointee.strangers += 1 }
    }

    override var unansweredNoun: String { "streams were" }

    override func updateFlow() {
        let bytes = connections.reduce(bytesOfEnded) { $0 + ($1?.bytesCounted ?? 0) }
        guard tally.pointee.phase.sends else {
            bytesBefore = bytes
            return
        }
        tally.pointee.flow.bytes = bytes - bytesBefore
    }

    override func resetFlow() {
        bytesBefore = connections.reduce(bytesOfEnded) { $0 + ($1?.bytesCounted ?? 0) }
    }

    func mismatched(_ bytes: UnsafeRawBufferPointer, _ connection: BulkConnection) {
        let start = connection.bytesReceived - UInt64(bytes.count)
        mismatched(bytes, from: start, at: connection.incoming, connection: connection.index)
    }

    func closed(_ connection: BulkConnection, _ reason: CloseReason) {
        bytesOfEnded += connection.bytesCounted
        connections[connection.index] = nil
        if tally.pointee.phase != .ended { abandonBytes(of: connection) }
        ended(
            lostBecause: connection.stage == .finishing
                ? nil : reason.loss(wasEndedByPeer: connection.stage == .endedByPeer))
        finishIfDeserted()
    }
}

/// One stream of a bulk run.
final class BulkConnection: Connection {
    enum Stage {
        case flowing
        /// It ends at this side's wish.
        case finishing
        case endedByPeer
    }

    let index: Int
    private(set) var stage = Stage.flowing
    private(set) var incoming: PatternCursor
    private var outgoing: PatternCursor
    private var bytesWritten: UInt64 = 0
    // The run outlives its loop, and so all its connections.
    private unowned let run: BulkRun

    init(_ run: BulkRun, fd: Int32, index: Int) {
        self.run = run
        self.index = index
        incoming = BytePattern.start(ofConnection: index)
        outgoing = incoming
        var configuration = ConnectionConfiguration()
        configuration.highWaterMark = 4 * BulkRun.pieceBytes
        configuration.lowWaterMark = 2 * BulkRun.pieceBytes
        super.init(run.loop, fd: fd, configuration: configuration)
    }

    /// The bytes that the run counts.
    var bytesCounted: UInt64 { run.direction == .send ? bytesSent : bytesReceived }

    /// All that was written has come back.
    var isEchoed: Bool { bytesReceived >= bytesWritten }

    /// Writes as long as there is room.
    func fill() {
        guard stage == .flowing, run.tally.pointee.phase.sends else { return }
        while isWritable {
            let piece = run.pattern.piece(at: outgoing, count: BulkRun.pieceBytes)
            guard write(uncopied: piece, release: {}) else { return }
            outgoing.advance(piece.count)
            bytesWritten += UInt64(piece.count)
        }
    }

    /// The run is over: nothing is to be sent or received any more.
    func finish() {
        stage = .finishing
        close()
    }

    override func becameWritable() {
        if run.direction != .receive { fill() }
    }

    override func received(_ span: RawSpan) {
        span.withUnsafeBytes { bytes in
            if run.verifies {
                if !run.pattern.matches(bytes, at: incoming) { run.mismatched(bytes, self) }
                incoming.advance(bytes.count)
            }
            if run.tally.pointee.phase == .draining { run.finishIfDrained() }
        }
    }

    override func inputEnded() {
        if stage == .flowing { stage = .endedByPeer }
        close()
    }

    override func closed(_ reason: CloseReason) {
        run.closed(self, reason)
    }
}
