import Transport

/// What a run is to do: checked, and complete.
struct LoadPlan {
    enum Kind: Equatable {
        case closed(depth: Int)
        /// Messages per second of the active connections together; `backlog` of them may be unanswered on each.
        case open(rate: Double, backlog: Int)
        /// `total` connections, or as many as the time allows. `resets`: they end with RST.
        case churn(messages: Int, total: Int?, resets: Bool)
        case bulk(BulkDirection, request: [UInt8])
    }

    /// The subcommand, for the report.
    var name: String
    var target: SocketAddress
    var transport: TransportDecision
    /// At once.
    var connections: Int
    /// Of those, how many send and receive: the first ones.
    var active: Int
    var kind: Kind
    /// Bytes of a message.
    var messageSize: Int
    var warmupSeconds = 0.0
    var seconds: Double?
    var verifies = true
    var connectAtOnce = 256
    var sources: SourceRange?
    var progressSeconds: Double?
    /// How long a message may take to come back once the run is over.
    var drainSeconds = 5.0

    static let connectionsMax = 100_000
    static let messageSizeMax = 16 * 1024 * 1024
    /// Bytes that may be on their way on one connection.
    static let bytesInFlightMax = 64 * 1024 * 1024

    /// An open loop whose pace was said as an interval.
    var isIdle: Bool { name == "idle" }

    /// Whether any message is to be sent.
    var sendsMessages: Bool {
        switch kind {
        case .closed, .open: active > 0
        case .churn(let messages, _, _): messages > 0
        case .bulk: false
        }
    }

    /// Messages that may be unanswered on a connection; 1 where there are none.
    var depthMax: Int {
        switch kind {
        case .closed(let depth): depth
        case .open(_, let backlog): backlog
        case .churn, .bulk: 1
        }
    }

    /// The loop of the run. A receive buffer has room for what comes at once and a byte more: a receive that does not fill its
    /// buffer says that there is nothing else, and small ones lie close together in the processor's cache.
    var loopConfiguration: EventLoopConfiguration {
        var configuration = transport.configuration
        let bytesAtOnce: Int = if case .bulk = kind { Self.bufferSizeMax } else { messageSize * depthMax + 1 }
        var size = Self.bufferSizeMin
        while size < bytesAtOnce, size < Self.bufferSizeMax { size *= 2 }
        configuration.receiveBuffers.size = UInt32(size)
        configuration.receiveBuffers.count = UInt32(min(256, max(64, 4 * 1024 * 1024 / size)))
        configuration.receiveBuffers.countMax = 4096
        return configuration
    }

    private static let bufferSizeMin = 2048
    private static let bufferSizeMax = 64 * 1024
}

/// Which way the bytes of a bulk run flow.
enum BulkDirection: String, CaseIterable {
    /// Written, and read back.
    case echo
    /// Written only.
    case send
    /// Read only, what the peer sends by itself or upon a request.
    case receive
}
