/// Rare events that the simulator claims to bring about. Over all seeds each of them has to happen.
enum SimulationMark: CaseIterable {
    // Receiving
    case receiveFilledBuffer, receiveEndedWithData, receiveInterrupted, endOfFile, receiveReset, receiveTimedOut
    case outOfBuffers, starvedByChance, starvedOnArrival, bufferGoesOn, bufferRetiredEarly, buffersAdded, sizeLearned
    // Sending
    case sendShort, sendGathered, sendInterrupted, sendRefused, sendTookNothing, sendReset
    case zeroCopySend, zeroCopyFailedWithNotification, notificationLate, notificationAfterRelease, uncopiedSent
    // Cancelling
    case cancelFoundNothing, cancelCameTooLate, cancelMissedLiving, cancelledFirst, cancelledLater
    case cancelledWithData, cancelledWithPartOfSend, cancelledWithResult
    // Accepting and connecting
    case acceptExhausted, acceptFailed, acceptDrained, connected, connectRefused, connectGivenUp
    // The loop
    case submitPart, submitNothing, batchPart, batchFull, spuriousWake, sleptToDeadline, clockJumped, woken
    case timerDueInBatch, zeroTimeout, staleDropped, staleBufferReturned, slotReused
    // Connections
    case parked, peerWatched, peerWatchEnded, inputEnding, overflow, detached, adopted, detachAbandoned
    case remainderUnread, remainderUnsent, droppedBetweenOwners, stoppedInStorm
    case endedFinished, endedClosed, endedAborted, endedReset, endedFailed, endedByStop
}

/// What a simulated world has to say for itself: rules that were broken, and rare events that happened.
final class SimulationLog {
    private(set) var violations: [String] = []
    private(set) var marks: Set<SimulationMark> = []

    /// One broken rule breaks others; the first few tell.
    private static let violationsMax = 20

    func require(_ holds: Bool, _ rule: @autoclosure () -> String) {
        guard !holds, violations.count < Self.violationsMax else { return }
        let rule = rule()
        if !violations.contains(rule) { violations.append(rule) }
    }

    func mark(_ mark: SimulationMark) { marks.insert(mark) }
}
