/// How the supervisor chooses a worker for a connection.
public enum Balance: String, Sendable, Codable {
    /// The worker with the fewest connections, live and in flight.
    case leastLoaded
    /// The next worker in turn that has credit.
    case roundRobin
    /// The same worker for the same source address, as long as it is ready and has credit.
    case sourceHash
}

/// Everything that the supervisor's decisions depend on besides the events.
public struct SupervisorConfiguration: Sendable, Codable {
    /// How many workers there may be.
    public static let workerCounts = 1...1_024

    /// Worker processes, 1 to 1,024.
    public let workerCount: Int
    /// How a worker is chosen.
    public let balance: Balance
    /// Connections of all workers together, live and in flight, at least 1.
    public let connectionsMax: Int
    /// The time from the stop signal to the supervisor's exit. Zero makes every stop a fast one.
    public let grace: Duration
    /// Starts the jitter's pseudo-random numbers; equal seeds and events give equal decisions.
    public let seed: UInt64

    /// Sockets sent to one worker and not yet adopted, at least 1. Default 64: what a dead worker can leave behind.
    public var inflightPerWorkerMax = 64
    /// Sockets in one hand-off packet, 1 to 16 (the packet's own limit). Default 16.
    public var batchMax = 16
    /// Failed deliveries (rejected by a worker, or the worker died first) after which a socket is closed. Default 64.
    public var deliveriesMax = 64
    /// The time from spawn to READY after which a worker is killed. Default 30 s.
    public var bootTimeout: Duration = .seconds(30)
    /// When and how fast dead workers are replaced.
    public var restart = RestartPolicy()
    /// How long a worker's loop may stand still before the worker is ended, more than 1 s. Nil: for ever. Default 30 s.
    public var hangTimeout: Duration? = .seconds(30)
    /// When a worker that works is replaced by a fresh one. Default: never.
    public var recycle = RecyclePolicy()
    /// Connections that a draining worker offers per second; more if it has too many to move them all in half of
    /// ``retireTimeout``. 0 switches migration off. Default 2,000.
    public var migrationsPerSecond: UInt32 = 2_000

    /// How long accepting goes on after a graceful stop began, so that load balancers notice: with a grace of 15 s or
    /// more a sixth of it, at most 5 s.
    public var drainDelay: Duration { grace < .seconds(15) ? .zero : min(.seconds(5), grace / 6) }
    /// How long a worker with a successor may drain before it is killed.
    public var retireTimeout: Duration { max(.seconds(60), grace) }

    /// A configuration with the defaults for what is not named. Values outside their range are the caller's bug: the
    /// command line refuses them with a message.
    public init(
        workerCount: Int, balance: Balance = .leastLoaded, connectionsMax: Int, grace: Duration = .seconds(9),
        seed: UInt64
    ) {
        precondition(Self.workerCounts.contains(workerCount), "workerCount must be from 1 to 1,024")
        precondition(connectionsMax >= 1, "connectionsMax must be at least 1")
        precondition(grace >= .zero, "grace must not be negative")
        self.workerCount = workerCount
        self.balance = balance
        self.connectionsMax = connectionsMax
        self.grace = grace
        self.seed = seed
    }
}
