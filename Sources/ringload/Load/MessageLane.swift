/// One connection's messages: those that were sent and are not answered yet, in order, and how far the answer to the
/// oldest has come. A message is answered when as many bytes as it had have come back.
///
/// It owns no memory: the times are a piece of memory that its ``LaneTable`` owns.
struct MessageLane {
    /// What received bytes mean.
    struct Receipt: Equatable {
        /// Messages whose last byte is among them.
        var answered: Int
        /// Bytes behind the answer to the last message: nobody asked for them.
        var excess: Int
    }

    /// Bytes of each message.
    let size: Int
    /// Messages that may be unanswered at once.
    let depthMax: Int
    /// Where the next byte to be sent, and the next that should come back, stand in the connection's stream.
    var outgoing: PatternCursor
    var incoming: PatternCursor
    private let times: UnsafeMutablePointer<UInt64>
    private var oldest = 0
    private(set) var inFlight = 0
    /// Bytes of the oldest message that have come back already.
    private var received = 0

    init(size: Int, depthMax: Int, start: PatternCursor, times: UnsafeMutablePointer<UInt64>) {
        precondition(size >= 1 && depthMax >= 1)
        self.size = size
        self.depthMax = depthMax
        self.times = times
        outgoing = start
        incoming = start
    }

    var hasRoom: Bool { inFlight < depthMax }

    /// A message is being sent; its latency counts from `time`, in nanoseconds.
    @inline(__always)
    mutating func began(_ time: UInt64) {
        precondition(inFlight < depthMax, "no more messages than may be unanswered")
        var index = oldest &+ inFlight
        if index >= depthMax { index &-= depthMax }
        times[index] = time
        inFlight &+= 1
    }

    /// So many bytes have come back. Take each answered message's time with ``takeOldest()``.
    @inline(__always)
    mutating func received(_ count: Int) -> Receipt {
        received &+= count
        var answered = 0
        while received >= size, answered < inFlight {
            received &-= size
            answered &+= 1
        }
        guard answered == inFlight, received > 0 else { return Receipt(answered: answered, excess: 0) }
        let excess = received
        received = 0
        return Receipt(answered: answered, excess: excess)
    }

    /// The time from which the oldest message counts. It is answered.
    @inline(__always)
    mutating func takeOldest() -> UInt64 {
        precondition(inFlight > 0, "there is an unanswered message")
        let time = times[oldest]
        oldest &+= 1
        if oldest == depthMax { oldest = 0 }
        inFlight &-= 1
        return time
    }
}

/// The lanes of all connections, in one piece of memory that lives as long as the run.
final class LaneTable {
    private let lanes: UnsafeMutableBufferPointer<MessageLane>
    private let times: UnsafeMutableBufferPointer<UInt64>
    private let size: Int
    private let depthMax: Int
    private let active: Int

    /// - Parameter active: so many of the lanes are used; only they have room for times.
    init(count: Int, size: Int, depthMax: Int, active: Int) {
        precondition(active <= count)
        self.size = size
        self.depthMax = depthMax
        lanes = .allocate(capacity: count)
        // Left as the kernel gives it: a page that no message needs takes no memory.
        times = .allocate(capacity: max(1, active) * depthMax)
        self.active = active
        for index in 0..<count { lanes.initializeElement(at: index, to: fresh(index)) }
    }

    deinit {
        lanes.deallocate()
        times.deallocate()
    }

    subscript(index: Int) -> UnsafeMutablePointer<MessageLane> { lanes.baseAddress! + index }

    /// A new connection takes the lane's place: nothing is in flight, the stream begins anew.
    func renew(_ index: Int) {
        lanes[index] = fresh(index)
    }

    private func fresh(_ index: Int) -> MessageLane {
        MessageLane(
            size: size, depthMax: depthMax, start: BytePattern.start(ofConnection: index),
            times: times.baseAddress! + (index < active ? index * depthMax : 0))
    }
}
