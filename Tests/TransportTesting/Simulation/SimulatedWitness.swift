@testable import Transport

/// What one simulated connection has done and been told, checked against its socket as it happens. It goes with the socket
/// from owner to owner. Unchecked Sendable, for tasks: everything happens on the test's own thread.
final class SimulatedWitness: @unchecked Sendable {
    enum End: Equatable {
        case closed(CloseReason)
        /// Nobody adopted what had been detached.
        case dropped
    }

    let number: Int
    let socket: SimulatedSocket
    private let log: SimulationLog
    private(set) var received: UInt64 = 0
    private(set) var end: End?
    private var isReading = false
    private var isDetached = false
    private var isInputEnded = false
    private var isInputEndingTold = false
    /// Why it may close: what the service has asked for.
    private var asked: Set<CloseReason> = []

    init(_ number: Int, _ socket: SimulatedSocket, _ log: SimulationLog) {
        self.number = number
        self.socket = socket
        self.log = log
    }

    private func require(_ holds: Bool, _ rule: @autoclosure () -> String) {
        log.require(holds, "connection \(number): \(rule())")
    }

    // MARK: What the service does

    func started(reading: Bool) {
        isReading = reading
        isDetached = false
        isInputEndingTold = false
    }

    func setReading(_ isReading: Bool) { self.isReading = isReading }

    func ask(_ reason: CloseReason) { asked.insert(reason) }

    // MARK: What the service is told

    private func requireAlive(_ event: String) {
        require(end == nil, "\(event) after the end")
        require(!isDetached, "\(event) between two owners")
    }

    func received(_ bytes: UnsafeRawBufferPointer) {
        requireAlive("received")
        require(!bytes.isEmpty, "nothing received")
        require(isReading, "received while paused")
        require(!isInputEnded, "received after the end of the input")
        require(
            socket.incoming.matches(bytes, from: received), "other bytes received than were sent, from \(received) on")
        received += UInt64(bytes.count)
        require(received <= socket.arrived, "more received than has arrived")
    }

    func inputEnded() {
        requireAlive("inputEnded")
        require(isReading, "inputEnded while paused")
        require(!isInputEnded, "inputEnded twice")
        require(socket.isInputFinished || socket.isReset, "inputEnded without FIN")
        if !socket.isReset { require(received == socket.total, "the input ends after \(received) of \(socket.total)") }
        isInputEnded = true
    }

    func inputEnding() {
        requireAlive("inputEnding")
        require(!isReading && !isInputEndingTold, "inputEnding twice, or while reading")
        require(socket.isInputFinished || socket.isReset, "inputEnding without FIN")
        isInputEndingTold = true
        log.mark(.inputEnding)
    }

    func progressed(_ event: String) { requireAlive(event) }

    func closed(_ reason: CloseReason) {
        requireAlive("closed")
        require(!socket.descriptors.near.isOpen, "closed with the descriptor open")
        require(isAllowed(reason), "closed for \(reason)")
        over(.closed(reason))
        log.mark(Self.mark(reason))
    }

    func detached(_ remainder: ConnectionRemainder) {
        requireAlive("detached")
        isDetached = true
        require(socket.descriptors.near.isOpen, "detached with the descriptor closed")
        require(remainder.isInputEnded == isInputEnded, "the remainder mistakes the end of the input")
        require(received + UInt64(remainder.unread.count) == socket.taken, "bytes unread that were told, or lost")
        require(socket.sent + UInt64(remainder.unsent.count) == socket.written, "bytes unsent that were sent, or lost")
        if !remainder.unread.isEmpty { log.mark(.remainderUnread) }
        if !remainder.unsent.isEmpty { log.mark(.remainderUnsent) }
        log.mark(.detached)
    }

    func dropped() {
        require(!socket.descriptors.near.isOpen, "dropped with the descriptor open")
        over(.dropped)
        log.mark(.droppedBetweenOwners)
    }

    private func over(_ end: End) {
        self.end = end
        socket.isClosed = true
        socket.descriptors.closeFar()
    }

    private func isAllowed(_ reason: CloseReason) -> Bool {
        switch reason {
        case .finished:
            isInputEnded && (socket.isReset || received == socket.total) && socket.sent == socket.written
        case .closed, .aborted, .writeQueueOverflow, .loopStopped:
            asked.contains(reason)
        case .reset, .failed:
            socket.isReset || socket.isSendRefused
        case .fileTooShort:
            false
        }
    }

    private static func mark(_ reason: CloseReason) -> SimulationMark {
        switch reason {
        case .finished: .endedFinished
        case .closed: .endedClosed
        case .aborted: .endedAborted
        case .reset: .endedReset
        case .writeQueueOverflow: .overflow
        case .loopStopped: .endedByStop
        case .failed, .fileTooShort: .endedFailed
        }
    }
}
