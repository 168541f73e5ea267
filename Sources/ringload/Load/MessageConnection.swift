import Transport

/// A connection that exchanges messages, or is one of an idle crowd.
final class MessageConnection: Connection {
    enum Stage {
        case working
        /// All its messages are answered, and it closes.
        case done
        /// The peer has sent FIN, which nobody asked for.
        case endedByPeer
    }

    let index: Int
    let lane: UnsafeMutablePointer<MessageLane>
    /// Messages still to be sent, in a churn.
    var messagesLeft = 0
    var stage = Stage.working
    // The run outlives its loop, and so all its connections; a plain pointer saves counting references per message.
    private unowned(unsafe) let run: MessageRun

    init(_ run: MessageRun, fd: Int32, index: Int, configuration: ConnectionConfiguration) {
        self.run = run
        self.index = index
        lane = run.lanes[index]
        super.init(run.loop, fd: fd, configuration: configuration)
    }

    override func received(_ bytes: RawSpan) {
        bytes.withUnsafeBytes { run.received($0, on: self) }
    }

    override func inputEnded() {
        if stage == .working { stage = .endedByPeer }
        close()
    }

    override func closed(_ reason: CloseReason) {
        run.closed(self, reason)
    }
}
