import ArgumentParser
import Logging
import Supervisor
import Transport

/// What concerns the supervisor and all its workers, whatever they serve.
struct CommonOptions: ParsableArguments {
    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp(
            "Worker processes: 1 to 1024, or auto for one per CPU allowed. \(EnvironmentArguments.note("workers"))",
            valueName: "N|auto")
    )
    var workers: WorkerCount = .automatic

    @Option(
        name: .long,
        help: ArgumentHelp(
            "How a connection gets its worker: least (the one with the fewest), round-robin, source-hash. \(EnvironmentArguments.note("balance"))",
            valueName: "MODE"))
    var balance: Balance = .leastLoaded

    @Option(
        name: .long,
        help: ArgumentHelp(
            "How the kernel is reached: auto (io_uring where it can be had, else epoll), io_uring, epoll. \(EnvironmentArguments.note("transport"))",
            valueName: "TRANSPORT"))
    var transport: TransportPreference = .auto

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp(
            "Connections at once, all workers together. By default what the limit of open files allows, up to 100000. \(EnvironmentArguments.note("max-connections"))",
            valueName: "N"))
    var maxConnections: Int?

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp(
            "Connections the kernel holds until they are accepted, per listener. \(EnvironmentArguments.note("backlog"))",
            valueName: "N"
        ))
    var backlog: Int = 4096

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp(
            "Seconds from SIGTERM to the end, all in all. \(EnvironmentArguments.note("grace"))", valueName: "SECONDS"))
    var grace: Seconds = Seconds(9)

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Log what is at least this important: trace, debug, info, notice, warning, error. \(EnvironmentArguments.note("log-level"))",
            valueName: "LEVEL"))
    var logLevel: LogLevel = .info

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Log lines as text or as json. \(EnvironmentArguments.note("log-format"))", valueName: "FORMAT"))
    var logFormat: LogFormat = .text

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Take commands (status, reload and others) on a Unix-domain socket of this path. \(EnvironmentArguments.note("control"))",
            valueName: "PATH"))
    var control: String?

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp(
            "A worker that stands still for this long is ended and replaced; 0: never. \(EnvironmentArguments.note("hang-timeout"))",
            valueName: "SECONDS"))
    var hangTimeout: Seconds = Seconds(30)

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp(
            "Replace a worker of about this age; 0: never. \(EnvironmentArguments.note("recycle-age"))",
            valueName: "SECONDS"))
    var recycleAge: Seconds = Seconds(0)

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp(
            "Replace a worker that has taken about so many connections; 0: never. \(EnvironmentArguments.note("recycle-connections"))",
            valueName: "N"))
    var recycleConnections: Int = 0

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp(
            "Replace a worker that has about so much memory resident; 0: never. \(EnvironmentArguments.note("recycle-memory"))",
            valueName: "MIB"))
    var recycleMemory: Int = 0

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp(
            "Connections that a worker with a successor moves to others per second; 0: none moves. \(EnvironmentArguments.note("migration-rate"))",
            valueName: "N"))
    var migrationRate: Int = 2000

    static let connectionsMax = 16_000_000
    static let memoryMebibytesMax = 16_777_216
    static let migrationRateMax = 1_000_000

    mutating func validate() throws {
        let ranges: [(name: String, value: Int?, range: ClosedRange<Int>)] = [
            ("max-connections", maxConnections, 1...Self.connectionsMax), ("backlog", backlog, 1...65_535),
            ("recycle-connections", recycleConnections, 0...Int.max),
            ("recycle-memory", recycleMemory, 0...Self.memoryMebibytesMax),
            ("migration-rate", migrationRate, 0...Self.migrationRateMax),
        ]
        for case (let name, let value?, let range) in ranges where !range.contains(value) {
            throw ValidationError(
                "--\(name) \(value) is out of range: give a number from \(range.lowerBound) to \(range.upperBound)")
        }
        guard hangTimeout.duration == .zero || hangTimeout.duration > .seconds(1) else {
            throw ValidationError(
                "--hang-timeout \(hangTimeout) is out of range: give more than 1 second, or 0 for never")
        }
        if let control, control.utf8.isEmpty || control.utf8.count > SocketAddress.unixPathLengthMax {
            throw ValidationError(
                "--control '\(control)' is no path for a socket: give one of 1 to \(SocketAddress.unixPathLengthMax) bytes"
            )
        }
    }
}
