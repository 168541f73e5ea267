@testable import Transport

// The loop lays itself down to sleep: it has then done all that it can do by itself.
extension SimulatedWorld {
    func checkSleep(until deadline: MonotonicTime) {
        log.require(remote.taskCount == 0, "the loop sleeps on tasks")
        let earliest = timers.values.map(\.deadline).min() ?? .distantFuture
        log.require(deadline <= earliest, "the loop sleeps past a timer")
        for connection in connections {
            guard let registration = connection.registration else { continue }
            if connection.parkedBytes > 0 { log.mark(.parked) }
            let state = SleepState(connection, registration, kernel)
            for broken in state.brokenRules { log.require(false, "connection \(connection.witness.number) \(broken)") }
        }
    }

    /// Nothing is received behind parked bytes: a service that pauses again and again would let them grow without bound.
    func checkReceive(_ registration: RegistrationID) {
        let connection = connections.first { $0.registration == registration }
        log.require((connection?.parkedBytes ?? 0) == 0, "a receive begins behind parked bytes")
    }

    func noteDelivery() {
        if timers.values.contains(where: { $0.deadline <= kernel.clock }) { log.mark(.timerDueInBatch) }
    }
}

/// What a connection waits for while the loop sleeps.
private struct SleepState {
    let connection: SimulatedConnection
    let registration: RegistrationID
    let kernel: SimulatedKernel

    init(_ connection: SimulatedConnection, _ registration: RegistrationID, _ kernel: SimulatedKernel) {
        self.connection = connection
        self.registration = registration
        self.kernel = kernel
    }

    private func waits(for kinds: OperationKind...) -> Bool {
        kinds.contains { kernel.isInFlight($0, registration) }
    }

    private var socket: SimulatedSocket { connection.witness.socket }

    var brokenRules: [String] {
        let isSending = waits(for: .send, .zeroCopySend0, .zeroCopySend1, .zeroCopySend2, .zeroCopySend3)
        let isReceiving = waits(for: .receive)
        let isWatching = waits(for: .poll)
        if connection.isClosing {
            let isCancelling = OperationKind.allCases.contains { $0.cancels != nil && waits(for: $0) }
            let isBusy = isSending || isReceiving || isWatching || isCancelling
            return isBusy ? [] : ["is closing and waits for nothing"]
        }
        var broken: [String] = []
        if connection.queuedBytes > 0, !isSending { broken.append("has bytes to send and sends nothing") }
        if connection.queuedBytes == 0, connection.isOutputFinished, connection.state.pointee.output != .finished {
            broken.append("owes FIN")
        }
        if connection.isReading, !connection.isInputEnded, !isReceiving { broken.append("reads and receives nothing") }
        if connection.isReading, connection.parkedBytes > 0 { broken.append("reads and keeps parked bytes") }
        if !isReceiving, !isWatching, !isSending, !isHungUp { broken.append("would not learn of the peer's end") }
        return broken
    }

    /// A poll that has told that both directions are shut is not repeated.
    private var isHungUp: Bool {
        socket.isReset || (socket.isInputFinished && socket.isOutputFinished)
    }
}
