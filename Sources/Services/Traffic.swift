import Transport

/// A service's statistics, added up while bytes move: reading them costs the same however many connections there are.
///
/// They lag behind a connection by what it has queued at most. Loop thread only.
final class Traffic {
    /// What of a connection is in the sum already.
    struct Counted {
        fileprivate var received: UInt64 = 0
        fileprivate var sent: UInt64 = 0
    }

    // Behind a pointer, so that nothing checks for exclusive access: this is called for each message.
    private let sums = UnsafeMutablePointer<ServiceStatistics>.allocate(capacity: 1)

    init() { sums.initialize(to: ServiceStatistics()) }

    deinit { sums.deallocate() }

    var statistics: ServiceStatistics { sums.pointee }

    /// Adds what `connection`, a client's, has received and sent since the last time. Returns what is counted now.
    func count(_ connection: Connection, since counted: Counted) -> Counted {
        let received = connection.bytesReceived
        let sent = connection.bytesSent
        assert(received >= counted.received && sent >= counted.sent)
        sums.pointee.bytesReceived &+= received &- counted.received
        sums.pointee.bytesSent &+= sent &- counted.sent
        return Counted(received: received, sent: sent)
    }

    /// Counts an attempt to connect to an upstream that failed.
    func countConnectFailure() {
        sums.pointee.upstreamConnectFailures &+= 1
    }
}
