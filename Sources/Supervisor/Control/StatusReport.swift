/// What the command `status` tells. The names of its JSON form are for scripts to rely on: the README lists them.
public struct StatusReport: Codable, Sendable {
    /// The program's name.
    public var name: String
    /// Its version.
    public var version: String
    /// The supervisor's process, which an upgrade does not change.
    public var pid: Int32
    /// When the supervisor began to serve, in seconds since 1970. An upgrade does not change it.
    public var startedAt: Int64
    /// How the kernel is reached: `io_uring` or `epoll`.
    public var transport: String
    /// The pool of workers as the state machine sees it.
    public var pool: PoolStatus
    /// The worker processes that there are, by slot.
    public var processes: [WorkerProcessStatus]
    /// What all workers have counted, those that are gone too, by name.
    public var counters: [String: UInt64]
    /// What each slot's last worker that failed said at its end, by slot.
    public var lastWords: [LastWords]
    /// The listeners in the configuration's order.
    public var listeners: [ListenerStatus]
    /// Why accept queues are missing from ``listeners``; nil when none is.
    public var listenersProblem: String?

    /// A report, the kernel's part of which is read now: see ``AcceptQueues``.
    ///
    /// - Parameter sockets: the listeners, in the configuration's order.
    public init(
        name: String, version: String, pid: Int32, startedAt: Int64, transport: String, pool: PoolStatus,
        processes: [WorkerProcessStatus], counters: [String: UInt64], lastWords: [LastWords],
        listeners sockets: [(id: UInt16, address: String, descriptor: Int32)]
    ) {
        self.name = name
        self.version = version
        self.pid = pid
        self.startedAt = startedAt
        self.transport = transport
        self.pool = pool
        self.processes = processes
        self.counters = counters
        self.lastWords = lastWords
        let reading = AcceptQueues.read(sockets: sockets.map(\.descriptor))
        listeners = zip(sockets, reading.queues).map { ListenerStatus(id: $0.id, address: $0.address, queue: $1) }
        listenersProblem = reading.problem
    }

    /// The report as JSON in one line, the keys in the order of the alphabet.
    public func json() throws -> String {
        String(decoding: try ControlLine.encode(self).dropLast(), as: UTF8.self)
    }
}

/// A worker's process.
public struct WorkerProcessStatus: Codable, Sendable {
    /// Where it sits.
    public var slot: Int
    /// Its process.
    public var pid: Int32
    /// Its slot's counters by name, over all workers that the slot has had.
    public var counters: [String: UInt64]

    /// A worker's process.
    public init(slot: Int, pid: Int32, counters: [String: UInt64]) {
        self.slot = slot
        self.pid = pid
        self.counters = counters
    }
}

/// How a worker ended that was not asked to, and what it had written to standard error by then.
public struct LastWords: Codable, Sendable {
    /// Where it sat.
    public var slot: Int
    /// Which process in that slot it was.
    public var incarnation: UInt32
    /// What its process was.
    public var pid: Int32
    /// When it ended, in seconds since 1970.
    public var endedAt: Int64
    /// How: `signal 6`, `exit code 4`.
    public var ending: String
    /// The last lines of its standard error; may be empty.
    public var text: String

    /// What a worker said at its end.
    public init(slot: Int, incarnation: UInt32, pid: Int32, endedAt: Int64, ending: String, text: String) {
        self.slot = slot
        self.incarnation = incarnation
        self.pid = pid
        self.endedAt = endedAt
        self.ending = ending
        self.text = text
    }
}

/// A listener, and the connections that wait in the kernel to be accepted.
public struct ListenerStatus: Codable, Hashable, Sendable {
    /// The number by which workers know it.
    public var id: UInt16
    /// The address really bound.
    public var address: String
    /// ``AcceptQueue/depth``; nil when the kernel does not tell.
    public var acceptQueue: Int?
    /// ``AcceptQueue/limit``; nil when the kernel does not tell.
    public var acceptQueueMax: Int?
    /// ``AcceptQueue/drops``; nil when the kernel does not tell, as of a Unix-domain listener.
    public var drops: Int?

    /// A listener with what is known of its queue.
    public init(id: UInt16, address: String, queue: AcceptQueue?) {
        self.id = id
        self.address = address
        acceptQueue = queue?.depth
        acceptQueueMax = queue?.limit
        drops = queue?.drops
    }
}
