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

    private(set) var statistics = ServiceStatistics()

    /// Adds what `connection`, a client's, has received and sent since the last time.
    func count(_ connection: Connection, since counted: inout Counted) {
        let received = connection.bytesReceived
        let sent = connection.bytesSent
        assert(received >= counted.received && sent >= counted.sent)
        statistics.bytesReceived &+= received &- counted.received
        statistics.bytesSent &+= sent &- counted.sent
        counted = Counted(received: received, sent: sent)
    }

    /// Counts an attempt to connect to an upstream that failed.
    func countConnectFailure() {
        statistics.upstreamConnectFailures &+= 1
    }
}
