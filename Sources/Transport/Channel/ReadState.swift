import Glibc

/// The reading direction of a connection: what the service wants, and what the multishot receive is doing.
struct ReadState {
    enum Receive {
        /// Nothing in flight.
        case idle
        /// In flight.
        case inFlight
        /// In flight, and asked to end because reading was paused.
        case cancelling
        /// Ended for want of a buffer; waits for the loop to say that there are some.
        case starved
        /// End of file or failure: there will be no other.
        case finished
    }

    /// What the connection must do now.
    enum Action: Equatable {
        case none
        /// Submit a receive.
        case arm
        /// Cancel the receive in flight.
        case cancel
        /// Get in line for buffers.
        case waitForBuffers
        /// End of file, behind all data.
        case end
        /// Nothing is read any more until reading is resumed: watch for the peer's departure by other means.
        case watch
        /// The connection is broken.
        case fail(Int32)
    }

    private(set) var receive = Receive.idle
    private(set) var isWanted = false
    /// Bytes that came while reading was paused are still to be told. None are received behind them: a service
    /// that pauses in every callback would otherwise let them grow without bound.
    private(set) var hasParked = false

    /// End of file or failure has been met.
    var hasFinished: Bool { receive == .finished }

    /// Goes on where another owner of the socket left off: with bytes to be told first, or after the end of the input.
    mutating func restore(hasParked: Bool, isFinished: Bool) {
        assert(receive == .idle && !isWanted, "restored before the start")
        assert(!hasParked || !isFinished, "bytes behind the end")
        self.hasParked = hasParked
        if isFinished { receive = .finished }
    }

    private var mayReceive: Bool { isWanted && !hasParked }

    mutating func resume() -> Action {
        isWanted = true
        return armIfIdle()
    }

    /// Bytes of the receive in flight have been put aside, because reading is paused or others are parked already.
    mutating func parked() {
        assert(receive == .inFlight || receive == .cancelling, "bytes without a receive")
        hasParked = true
    }

    /// All that was parked has been told.
    mutating func unparked() -> Action {
        hasParked = false
        return armIfIdle()
    }

    private mutating func armIfIdle() -> Action {
        guard receive == .idle, mayReceive else { return .none }
        receive = .inFlight
        return .arm
    }

    mutating func pause() -> Action {
        isWanted = false
        switch receive {
        case .inFlight:
            receive = .cancelling
            return .cancel
        case .starved:
            receive = .idle
            return .watch
        case .idle:
            return .watch
        case .cancelling, .finished:
            return .none
        }
    }

    /// Nothing is to be told any more: what is parked is dropped, and what comes.
    mutating func finish() -> Action {
        hasParked = false
        return pause()
    }

    /// The receive in flight has had its terminal completion, its data (if any) having been dealt with.
    mutating func ended(_ result: Int32) -> Action {
        assert(receive == .inFlight || receive == .cancelling, "a receive ends that was not in flight")
        switch result {
        case 0:
            receive = .finished
            return .end
        case -ENOBUFS where mayReceive:
            receive = .starved
            return .waitForBuffers
        case 1..., -ECANCELED, -ENOBUFS, -EAGAIN, -EINTR:
            // A terminal completion is only "no F_MORE"; whether to go on is for the service's wish to say.
            receive = .idle
            return isWanted ? armIfIdle() : .watch
        default:
            receive = .finished
            return .fail(-result)
        }
    }

    /// There are buffers for one that waited in line. It may have been paused, or paused and resumed, meanwhile.
    mutating func buffersReturned() -> Action {
        guard receive == .starved else { return .none }
        receive = .inFlight
        return .arm
    }

    /// A cancellation has completed without ending the receive it was meant for.
    mutating func cancellationMissed() -> Action {
        guard receive == .cancelling else { return .none }
        if mayReceive {
            receive = .inFlight
            return .none
        }
        return .cancel
    }
}
