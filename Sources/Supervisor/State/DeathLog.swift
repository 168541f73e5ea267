/// Keeps a crash loop from flooding the log: of deaths with the same status in a row, the first few are reported singly
/// and the others as a count.
struct DeathLog: Sendable, Codable {
    /// Reports of the same death before they collapse.
    static let singlyMax = 5
    /// Deaths in one collapsed report: a crash loop without end still says something now and then.
    static let collapsedMax = 100

    private var status: ExitStatus?
    private var reported = 0
    private var unreported = 0

    /// What to report about one more death.
    mutating func record(
        _ worker: WorkerID, _ status: ExitStatus, redelivered: Int, lost: UInt32
    ) -> [SupervisorState.Report] {
        var reports: [SupervisorState.Report] = []
        if status != self.status {
            reports = flush()
            self.status = status
            reported = 0
        }
        if reported < Self.singlyMax {
            reported += 1
            return reports + [.workerDied(worker, status, redelivered: redelivered, lost: lost)]
        }
        unreported += 1
        return unreported == Self.collapsedMax ? flush() : reports
    }

    /// What has not been reported yet.
    mutating func flush() -> [SupervisorState.Report] {
        guard let status, unreported > 0 else { return [] }
        defer { unreported = 0 }
        return [.deathsCollapsed(status, count: unreported)]
    }
}
