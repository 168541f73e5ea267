/// What a supervisor or worker process says with its exit status. The README lists them for operators.
public enum ExitCode: Int32, Sendable, CaseIterable {
    /// A clean stop. Connections cut at the deadline are counted in the last log line.
    case success = 0
    /// A bug in Ringmaster or a failure that has no code of its own.
    case internalError = 1
    /// A bad option, value or address. A worker that exits so is not respawned.
    case badUsage = 2
    /// No worker ever became ready.
    case workersNeverReady = 3
    /// The service could not be set up in a worker.
    case serviceFailed = 4
    /// io_uring is denied or too old here; the message names the cause and the remedy.
    case ringUnavailable = 5
    /// A listening address could not be bound.
    case cannotBind = 6
    /// A resource limit (RLIMIT_NOFILE, RLIMIT_MEMLOCK) is too low for what was asked.
    case limitTooLow = 7
    /// A worker whose supervisor vanished has drained and left.
    case orphaned = 9
}
