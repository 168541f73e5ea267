/// When and how fast dead workers are replaced.
public struct RestartPolicy: Sendable, Codable {
    /// The first delay; it doubles with each further death. Default 100 ms.
    public var delayFirst: Duration = .milliseconds(100)
    /// Where the doubling ends. Default 30 s.
    public var delayMax: Duration = .seconds(30)
    /// How far a delay may be off either way, in percent, so that workers do not start in step. Default 20.
    public var jitterPercent = 20
    /// A worker that was ready this long is replaced at once. Default 10 s.
    public var immediateAfter: Duration = .seconds(10)
    /// A worker that was ready this long clears its slot's record of deaths. Default 60 s.
    public var resetAfter: Duration = .seconds(60)
    /// Restarts of the whole pool are counted over this time. Default 60 s.
    public var intensityWindow: Duration = .seconds(60)
    /// How often in a row a worker may fail to become ready before the supervisor gives up, if none was ever ready.
    /// Default 3.
    public var failFastAttempts = 3

    /// The defaults.
    public init() {}

    /// Restarts allowed per ``intensityWindow`` for a pool of this size; beyond that the supervisor is degraded.
    public func intensityMax(workerCount: Int) -> Int {
        max(5, 2 * workerCount)
    }

    /// The delay before a worker is replaced that had been ready for `readyFor` (nil: never).
    ///
    /// - Parameter deaths: the slot's record, which this call keeps.
    func delay(deaths: inout Int, readyFor: Duration?, random: inout SplitMix64) -> Duration {
        if let readyFor, readyFor >= resetAfter { deaths = 0 }
        if let readyFor, readyFor >= immediateAfter { return .zero }
        // 2¹⁶ times any sensible first delay is past the cap; stopping there keeps the shift in range.
        let doublings = min(deaths, 16)
        deaths = doublings + 1
        let delay = min(delayMax, delayFirst * (1 << doublings))
        let spread = UInt64(2 * jitterPercent * 10 + 1)
        let permille = 1_000 - jitterPercent * 10 + Int(random.next() % spread)
        return delay * permille / 1_000
    }
}
