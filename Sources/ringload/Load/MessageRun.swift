import Transport

/// A run of messages: a closed loop, an open one (of which an idle crowd is a case), or a churn.
final class MessageRun: LoadRun {
    /// What an answer leads to.
    enum Mode {
        /// The next message at once.
        case closed
        /// Nothing: the pacer says when messages go out.
        case open
        /// The connection's next message, or its end.
        case churn
    }

    let lanes: LaneTable
    private let mode: Mode
    private let verifies: Bool
    private let connectionConfiguration: ConnectionConfiguration
    private var connections: [MessageConnection?]
    /// Of an open loop.
    private var pacer: OpenPacer?
    private var paceTimer: LoopTimer?
    /// Lanes of a churn that no connection has, the first to be taken last.
    private var freeLanes: [Int] = []
    private var failuresInRow = 0

    /// Messages sent or skipped in one turn of the loop; a pacer that is further behind goes on in the next.
    private static let dueMessagesMax = 4096
    /// A message sent so much later than it was due is counted as late: 1 ms.
    private static let lateNanoseconds: UInt64 = 1_000_000
    /// A churn whose attempts fail so often in a row ends: there is no server.
    private static let failuresInRowMax = 1000

    init(
        _ loop: EventLoop, _ plan: LoadPlan, progress: @escaping (String) -> Void,
        reported: @escaping (LoadReport) -> Void
    ) {
        switch plan.kind {
        case .closed: mode = .closed
        case .open: mode = .open
        case .churn: mode = .churn
        case .bulk: preconditionFailure("a bulk run has no messages")
        }
        verifies = plan.verifies
        // The crowd's lanes are never used; they take no memory beyond themselves.
        lanes = LaneTable(
            count: plan.connections, size: plan.messageSize, depthMax: plan.depthMax, active: plan.active)
        connections = Array(repeating: nil, count: plan.connections)
        var configuration = ConnectionConfiguration()
        configuration.queuedBytesMax = max(configuration.queuedBytesMax, plan.messageSize * plan.depthMax)
        connectionConfiguration = configuration
        super.init(
            loop, plan, pieceMax: min(max(plan.messageSize, 64 * 1024), 1 << 20), progress: progress, reported: reported
        )
    }

    override func start() {
        guard case .churn(_, let total, _) = plan.kind else { return super.start() }
        freeLanes = (0..<plan.connections).reversed()
        dialling = Dialling(wanted: total ?? .max, atOnceMax: plan.connectAtOnce)
        super.start()
    }

    override func open() {
        if mode == .churn { skipOpening() } else { super.open() }
    }

    // MARK: Connections

    override func connected(_ fd: Int32, index: Int, startedAt: UInt64) {
        if tally.pointee.phase == .opening {
            tally.pointee.connectLatency.record(from: startedAt, to: loop.turnTime.nanoseconds)
        }
        begin(fd, index)
    }

    @discardableResult
    private func begin(_ fd: Int32, _ index: Int) -> MessageConnection {
        let connection = MessageConnection(self, fd: fd, index: index, configuration: connectionConfiguration)
        connections[index] = connection
        connection.start()
        return connection
    }

    /// A connection is closed, at this end's wish or not.
    func closed(_ connection: MessageConnection, _ reason: CloseReason) {
        connections[connection.index] = nil
        abandonMessages(of: connection)
        ended(
            lostBecause: connection.stage == .done
                ? nil : reason.loss(wasEndedByPeer: connection.stage == .endedByPeer))
        switch mode {
        case .closed, .open:
            finishIfDeserted()
        case .churn:
            lanes.renew(connection.index)
            freeLanes.append(connection.index)
            churn()
            finishIfDrained()
        }
    }

    // MARK: Messages

    @inline(__always)
    private func send(_ connection: MessageConnection, countingFrom time: UInt64) {
        let lane = connection.lane
        lane.pointee.began(time)
        tally.pointee.outstanding &+= 1
        let size = lane.pointee.size
        if size <= pattern.pieceMax {
            connection.write(pattern.piece(at: lane.pointee.outgoing, count: size))
            lane.pointee.outgoing.advance(size)
        } else {
            sendInPieces(connection)
        }
    }

    private func sendInPieces(_ connection: MessageConnection) {
        var left = connection.lane.pointee.size
        while left > 0 {
            let count = min(left, pattern.pieceMax)
            connection.write(pattern.piece(at: connection.lane.pointee.outgoing, count: count))
            connection.lane.pointee.outgoing.advance(count)
            left -= count
        }
    }

    /// Bytes have come back. Time is the loop's: when this turn began, before any of its messages was dealt with.
    @inline(__always)
    func received(_ bytes: UnsafeRawBufferPointer, on connection: MessageConnection) {
        let lane = connection.lane
        let receipt = lane.pointee.received(bytes.count)
        let answer = UnsafeRawBufferPointer(start: bytes.baseAddress, count: bytes.count &- receipt.excess)
        if verifies, !pattern.matches(answer, at: lane.pointee.incoming) {
            mismatched(answer, before: receipt.excess, connection)
        }
        if receipt.excess > 0 { exceeded(receipt.excess, connection) }
        lane.pointee.incoming.advance(answer.count)
        guard receipt.answered > 0 else { return }
        let now = loop.turnTime.nanoseconds
        for _ in 0..<receipt.answered {
            tally.pointee.answered(
                from: lane.pointee.takeOldest(), now: now, size: lane.pointee.size, byDueTime: mode == .open)
        }
        switch mode {
        case .closed:
            guard tally.pointee.phase.sends else { return finishIfDrained() }
            for _ in 0..<receipt.answered { send(connection, countingFrom: now) }
        case .open:
            finishIfDrained()
        case .churn:
            goOn(connection, now)
        }
    }

    @inline(never)
    private func mismatched(
        _ bytes: UnsafeRawBufferPointer, before excess: Int, _ connection: MessageConnection
    ) {
        let start = connection.bytesReceived - UInt64(bytes.count + excess)
        mismatched(bytes, from: start, at: connection.lane.pointee.incoming, connection: connection.index)
    }

    @inline(never)
    private func exceeded(_ count: Int, _ connection: MessageConnection) {
        tally.pointee.verificationErrors += 1
        // It spoke first.
        if connection.bytesReceived == UInt64(count) { tally.pointee.strangers += 1 }
        tally.pointee.note(.wrongBytes, "connection \(connection.index): \(count) bytes more came back than were sent")
    }

    // MARK: Phases

    override func beginSending() {
        let now = loop.turnTime.nanoseconds
        switch plan.kind {
        case .closed(let depth):
            for case let connection? in connections.prefix(plan.active) {
                for _ in 0..<depth { send(connection, countingFrom: now) }
            }
        case .open(let rate, _):
            // A crowd without anybody active.
            guard rate > 0 else { return }
            pacer = OpenPacer(rate: rate, start: loop.now.nanoseconds)
            paceTimer = LoopTimer(loop) { [unowned self] in pace(until: loop.now.nanoseconds) }
            paceTimer?.arm(after: .zero)
        case .churn:
            churn()
        case .bulk:
            break
        }
    }

    override func willStopSending() {
        guard pacer != nil else { return }
        // What was due by now and is still to be taken has its place in the count.
        while pace(until: tally.pointee.windowEnd) {}
    }

    override func beginDraining() {
        paceTimer?.cancel()
    }

    override func abandonUnanswered() {
        for case let connection? in connections { abandonMessages(of: connection) }
    }

    private func abandonMessages(of connection: MessageConnection) {
        let lane = connection.lane
        if lane.pointee.inFlight > 0, connection.bytesReceived == 0 { tally.pointee.strangers += 1 }
        while lane.pointee.inFlight > 0 {
            tally.pointee.abandoned(from: lane.pointee.takeOldest(), byDueTime: mode == .open)
        }
    }

    override var isDrained: Bool {
        tally.pointee.outstanding == 0 && (mode != .churn || (live == 0 && dialling.outstanding == 0))
    }

    // MARK: The open loop

    /// Sends what is due; returns whether some of it is left.
    @discardableResult
    private func pace(until now: UInt64) -> Bool {
        var left = Self.dueMessagesMax
        while left > 0, let due = pacer?.takeDue(now) {
            left -= 1
            sendDue(due.number, due.dueTime, now)
        }
        if let next = pacer?.nextDueTime { paceTimer?.arm(at: MonotonicTime(nanoseconds: next)) }
        return left == 0
    }

    private func sendDue(_ number: UInt64, _ dueTime: UInt64, _ now: UInt64) {
        let isMeasured = tally.pointee.isInWindow(dueTime)
        if isMeasured { tally.pointee.due += 1 }
        guard let connection = connections[Int(number % UInt64(plan.active))], connection.stage == .working,
            connection.lane.pointee.hasRoom
        else {
            if isMeasured { tally.pointee.skipped += 1 }
            return
        }
        if isMeasured, now - dueTime > Self.lateNanoseconds { tally.pointee.late += 1 }
        send(connection, countingFrom: dueTime)
    }

    // MARK: The churn

    /// Begins as many connections as there may be now.
    private func churn() {
        guard tally.pointee.phase.sends else { return }
        while !freeLanes.isEmpty, let number = dialling.next(), let lane = freeLanes.popLast() {
            connect(number) { [unowned self] fd, startedAt in dialled(fd, lane, startedAt) }
        }
        if dialling.isComplete, live == 0 { finishEarly() }
    }

    private func dialled(_ fd: Int32?, _ lane: Int, _ startedAt: UInt64) {
        dialling.ended(isOpen: fd != nil)
        guard let fd, case .churn(let messages, _, _) = plan.kind else {
            freeLanes.append(lane)
            failuresInRow += 1
            if failuresInRow == Self.failuresInRowMax { finishEarly() }
            churn()
            return finishIfDrained()
        }
        failuresInRow = 0
        let now = loop.turnTime.nanoseconds
        if tally.pointee.phase == .measuring { tally.pointee.connectLatency.record(from: startedAt, to: now) }
        let connection = begin(fd, lane)
        connection.messagesLeft = messages
        goOn(connection, now)
        churn()
    }

    private func goOn(_ connection: MessageConnection, _ now: UInt64) {
        guard connection.lane.pointee.inFlight == 0, connection.stage == .working else { return }
        // Behind the end only what is out is waited for.
        if connection.messagesLeft > 0, tally.pointee.phase.sends {
            connection.messagesLeft -= 1
            return send(connection, countingFrom: now)
        }
        connection.stage = .done
        if tally.pointee.phase.sends, connection.messagesLeft == 0 { tally.pointee.flow.connections += 1 }
        if case .churn(_, _, true) = plan.kind { connection.abort() } else { connection.close() }
    }
}
