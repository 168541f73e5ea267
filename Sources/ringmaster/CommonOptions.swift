import ArgumentParser
import Handoff
import Logging
import Supervisor
import Transport

/// How many workers: a number, or what the machine can keep busy.
enum WorkerCount: ExpressibleByArgument, Equatable {
    case automatic
    case count(Int)

    static let max = 1024

    init?(argument: String) {
        if argument == "auto" {
            self = .automatic
            return
        }
        guard let count = Int(argument), (1...Self.max).contains(count) else { return nil }
        self = .count(count)
    }

    var defaultValueDescription: String { "auto" }
}

extension Balance: ExpressibleByArgument {
    /// The names on the command line.
    static let names: [(String, Balance)] = [
        ("least", .leastLoaded), ("round-robin", .roundRobin), ("source-hash", .sourceHash),
    ]

    /// Reads a name from the command line.
    public init?(argument: String) {
        guard let found = Self.names.first(where: { $0.0 == argument }) else { return nil }
        self = found.1
    }

    /// All names, for help texts.
    public static var allValueStrings: [String] { names.map(\.0) }
    /// Its name, for help texts.
    public var defaultValueDescription: String { Self.names.first { $0.1 == self }?.0 ?? "" }
}

/// A log level by name.
enum LogLevel: String, ExpressibleByArgument, CaseIterable {
    case trace, debug, info, notice, warning, error

    var level: Logger.Level { Logger.Level(rawValue: rawValue) ?? .info }
}

extension LogFormat: ExpressibleByArgument {}

extension TransportPreference: ExpressibleByArgument {}

/// A time in seconds, whole or with a fraction, of at most a year.
struct Seconds: ExpressibleByArgument, Equatable {
    var duration: Duration

    static let max = 31_536_000.0

    init(_ seconds: Int) {
        duration = .seconds(seconds)
    }

    init?(argument: String) {
        guard let seconds = Double(argument), seconds >= 0, seconds <= Self.max else { return nil }
        duration = .milliseconds(Int((seconds * 1000).rounded()))
    }

    var defaultValueDescription: String { "\(duration.components.seconds)" }
}

/// What every service has.
struct CommonOptions: ParsableArguments {
    @Option(
        name: .long, parsing: .singleValue,
        help: ArgumentHelp(
            "Where to listen; repeatable. Port 0 takes a free port, shown in the log. \(variable("listen"))",
            valueName: "HOST:PORT|[V6]:PORT|unix:/path"))
    var listen: [String] = []

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Worker processes: 1 to 1024, or auto for one per CPU allowed. \(variable("workers"))", valueName: "N|auto")
    )
    var workers: WorkerCount = .automatic

    @Option(
        name: .long,
        help: ArgumentHelp(
            "How a connection gets its worker: least (the one with the fewest), round-robin, source-hash. \(variable("balance"))",
            valueName: "MODE"))
    var balance: Balance = .leastLoaded

    @Option(
        name: .long,
        help: ArgumentHelp(
            "How the kernel is reached: auto (io_uring where it can be had, else epoll), io_uring, epoll. \(variable("transport"))",
            valueName: "TRANSPORT"))
    var transport: TransportPreference = .auto

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Connections at once, all workers together. By default what the limit of open files allows, up to 100000. \(variable("max-connections"))",
            valueName: "N"))
    var maxConnections: Int?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Connections the kernel holds until they are accepted, per listener. \(variable("backlog"))", valueName: "N"
        ))
    var backlog: Int = 4096

    @Option(
        name: .long,
        help: ArgumentHelp("Seconds from SIGTERM to the end, all in all. \(variable("grace"))", valueName: "SECONDS"))
    var grace: Seconds = Seconds(9)

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Log what is at least this important: trace, debug, info, notice, warning, error. \(variable("log-level"))",
            valueName: "LEVEL"))
    var logLevel: LogLevel = .info

    @Option(
        name: .long, help: ArgumentHelp("Log lines as text or as json. \(variable("log-format"))", valueName: "FORMAT"))
    var logFormat: LogFormat = .text

    /// Checks what the parser cannot, and reads the addresses.
    func listenAddresses() throws(CommandError) -> [ListenAddress] {
        guard !listen.isEmpty else {
            throw CommandError(
                .badUsage, "--listen is missing: say where to listen, for example --listen 127.0.0.1:7000")
        }
        guard listen.count <= Self.listenersMax else {
            throw CommandError(
                .badUsage, "--listen is given \(listen.count) times: \(Self.listenersMax) listeners are the most")
        }
        var addresses: [ListenAddress] = []
        for text in listen {
            do throws(AddressSyntaxError) {
                addresses.append(try ListenAddress(parsing: text))
            } catch {
                throw CommandError(.badUsage, "--listen \(error)")
            }
        }
        return addresses
    }

    static let listenersMax = 256

    func checkNumbers() throws(CommandError) {
        if let maxConnections, !(1...Self.connectionsMax).contains(maxConnections) {
            throw CommandError(
                .badUsage,
                "--max-connections \(maxConnections) is out of range: give a number from 1 to \(Self.connectionsMax)")
        }
        guard (1...65_535).contains(backlog) else {
            throw CommandError(.badUsage, "--backlog \(backlog) is out of range: give a number from 1 to 65535")
        }
    }

    static let connectionsMax = 16_000_000
}
