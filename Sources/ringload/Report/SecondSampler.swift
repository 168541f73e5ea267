/// Divides the measured phase into seconds, and says what each counted.
struct SecondSampler {
    private static let second: UInt64 = 1_000_000_000

    private(set) var seconds: [LoadReport.Second] = []
    /// When the next second is over.
    private(set) var next: UInt64 = .max
    /// Processor time of the whole phase.
    private(set) var total = ProcessTime(user: 0, system: 0)
    private var start: UInt64 = 0
    private var startCPU = ProcessTime(user: 0, system: 0)
    private var lastCPU = ProcessTime(user: 0, system: 0)
    private var lastFlow = Tally.Flow()

    init(secondsMax: Int) {
        seconds.reserveCapacity(min(secondsMax, 86_400))
    }

    mutating func begin(_ now: UInt64, cpu: ProcessTime) {
        start = now
        startCPU = cpu
        lastCPU = cpu
        next = now &+ Self.second
    }

    /// A second is over, or more than one when the caller is late.
    mutating func sample(_ now: UInt64, cpu: ProcessTime, flow: Tally.Flow) {
        seconds.append(
            LoadReport.Second(end: now - start, flow: flow - lastFlow, cpuMicroseconds: (cpu - lastCPU).total))
        lastFlow = flow
        lastCPU = cpu
        while next <= now { next &+= Self.second }
    }

    /// The phase is over.
    mutating func end(_ now: UInt64, cpu: ProcessTime, flow: Tally.Flow) {
        total = cpu - startCPU
        // What is left of a few milliseconds is the timer's lateness rather than a second of the run.
        let rest = now - start - (seconds.last?.end ?? 0)
        if let last = seconds.indices.last, rest < Self.second / 20 {
            seconds[last].end = now - start
            seconds[last].flow = seconds[last].flow + (flow - lastFlow)
            seconds[last].cpuMicroseconds += (cpu - lastCPU).total
        } else {
            sample(now, cpu: cpu, flow: flow)
        }
        next = .max
    }
}
