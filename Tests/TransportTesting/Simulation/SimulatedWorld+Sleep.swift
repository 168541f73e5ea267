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
            let state = SleepState(
                connection, kernel.kindsInFlight(registration),
                endsReceive: kernel.isBeingCancelled(.receive, registration))
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
    private let connection: SimulatedConnection
    private let inFlight: UInt32
    private let endsReceive: Bool

    private static let sends: UInt32 = [
        OperationKind.send, .pollWrite, .zeroCopySend0, .zeroCopySend1, .zeroCopySend2, .zeroCopySend3,
    ]
    .reduce(0) { $0 | $1.bit }

    init(_ connection: SimulatedConnection, _ inFlight: UInt32, endsReceive: Bool) {
        self.connection = connection
        self.endsReceive = endsReceive
        self.inFlight = inFlight
    }

    var brokenRules: [String] {
        if connection.isClosing { return inFlight == 0 ? ["is closing and waits for nothing"] : [] }
        let isSending = inFlight & Self.sends != 0
        let isReceiving = inFlight & OperationKind.receive.bit != 0
        var broken: [String] = []
        if connection.queuedBytes > 0, !isSending { broken.append("has bytes to send and sends nothing") }
        if connection.queuedBytes == 0, connection.state.pointee.output == .finishing { broken.append("owes FIN") }
        if connection.isReading, !connection.isInputEnded, !isReceiving { broken.append("reads and receives nothing") }
        if !connection.isReading, isReceiving, !endsReceive { broken.append("is paused and goes on receiving") }
        if connection.isReading, connection.parkedBytes > 0 { broken.append("reads and keeps parked bytes") }
        if inFlight == 0, !isHungUp { broken.append("would not learn of the peer's end") }
        return broken
    }

    /// A poll that has told that both directions are shut is not repeated.
    private var isHungUp: Bool {
        let socket = connection.witness.socket
        return socket.isReset || (socket.isInputFinished && socket.isOutputFinished)
    }
}
