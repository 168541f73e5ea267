import CSocket
import Glibc

/// What changes in a datagram channel, kept behind a pointer so that the hot path makes no exclusivity check.
struct DatagramState: ~Copyable {
    enum Output {
        /// Nothing keeps datagrams from being sent.
        case open
        /// The socket had no room, or others are to have their turn: a poll tells when to go on.
        case waiting
        /// The poll has said that there is room, and nothing has been sent since.
        case roomConfirmed
    }

    var read = ReadState()
    /// Receive buffers as they came while reading was paused.
    var parked = DatagramQueue()
    var queue = DatagramQueue()
    var output = Output.open
    var statistics = DatagramStatistics()
    /// What has become of sends, oldest first, until the channel is told: neighbours that ended alike are one.
    var settled: [(count: Int, outcome: DatagramOutcome)] = []
    var closeReason = CloseReason.closed
    /// False from a refused send until the queue is empty.
    var isWritable = true
    var isDirty = false
    /// The cancellation in flight was submitted after the receive in flight, and so is aimed at it.
    var cancelIsCurrent = false
    /// Tells the kernel how much room names and control data get; the receive in flight refers to it.
    let receiveMessage = UnsafeMutablePointer<msghdr>.allocate(capacity: 1)
    /// Where the datagrams of the next call are described.
    let batch = UnsafeMutableBufferPointer<csocket_datagram>.allocate(capacity: Int(CSOCKET_DATAGRAMS_MAX))

    init(nameRoom: Int, controlRoom: Int) {
        receiveMessage.initialize(to: msghdr())
        receiveMessage.pointee.msg_namelen = socklen_t(nameRoom)
        receiveMessage.pointee.msg_controllen = controlRoom
    }

    deinit {
        receiveMessage.deallocate()
        batch.deallocate()
    }

    /// The next that the channel is to be told of.
    mutating func takeSettled() -> (count: Int, outcome: DatagramOutcome)? {
        settled.isEmpty ? nil : settled.removeFirst()
    }

    mutating func settle(_ count: Int, _ outcome: DatagramOutcome) {
        guard count > 0 else { return }
        if let last = settled.last, last.outcome == outcome {
            settled[settled.count - 1].count += count
        } else {
            settled.append((count, outcome))
        }
    }

    /// Reads a completion's bytes, or parked ones.
    func message(_ bytes: UnsafeRawBufferPointer) -> ReceivedMessage {
        let message = ReceivedMessage(
            bytes, nameRoom: Int(receiveMessage.pointee.msg_namelen),
            controlRoom: receiveMessage.pointee.msg_controllen)
        guard let message else { preconditionFailure("a received datagram without its head") }
        return message
    }
}
