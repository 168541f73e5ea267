import Transport

/// Bounds how often the whole pool may restart workers.
///
/// Up to `max` restarts per window go ahead. One more makes the pool degraded: then a restart must keep `spacing` to the
/// last one and wait until no other worker is booting, until the owner says that all is well.
struct RestartIntensity: Sendable, Codable {
    enum Mode: Equatable, Sendable, Codable {
        case normal
        case degraded
    }

    private(set) var max: Int
    private(set) var window: Duration
    private(set) var spacing: Duration
    private(set) var mode = Mode.normal
    /// The restarts in the window, oldest first. Beyond `max` only each slot's own back-off bounds them.
    private var restarts: [MonotonicTime] = []
    private var last: MonotonicTime?

    init(max: Int, window: Duration, spacing: Duration) {
        self.max = max
        self.window = window
        self.spacing = spacing
    }

    init(_ policy: RestartPolicy, workerCount: Int) {
        self.init(
            max: policy.intensityMax(workerCount: workerCount), window: policy.intensityWindow,
            spacing: policy.delayMax)
    }

    /// Goes on with other limits. What the window holds still counts.
    mutating func adopt(_ policy: RestartPolicy, workerCount: Int) {
        let other = RestartIntensity(policy, workerCount: workerCount)
        (max, window, spacing) = (other.max, other.window, other.spacing)
    }

    /// The earliest time a restart may go ahead as things are.
    var earliest: MonotonicTime {
        guard mode == .degraded, let last else { return MonotonicTime(nanoseconds: 0) }
        return last + spacing
    }

    /// Whether a worker may be restarted now; if so, that is recorded. Excess turns the mode to degraded.
    ///
    /// With nobody `serving` even a degraded pool does not wait for its spacing: the slot's own back-off is pause enough.
    mutating func admit(now: MonotonicTime, booting: Int, serving: Int) -> Bool {
        restarts.removeFirst(restarts.prefix { $0 + window <= now }.count)
        if mode == .normal, restarts.count >= max { mode = .degraded }
        if mode == .degraded, booting > 0 || (serving > 0 && earliest > now) { return false }
        restarts.append(now)
        last = now
        return true
    }

    /// All workers are ready: back to normal. What the window holds still counts.
    mutating func recover() {
        mode = .normal
    }
}
