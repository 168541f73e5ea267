import Handoff
import Supervisor
import Transport
import Worker

/// What to serve, as options or a configuration file say: checked for itself, nothing looked up, nothing bound.
struct Plan: Sendable {
    var options: CommonOptions
    /// At least one, in the order in which they are given.
    var listeners: [PlannedListener]
    /// The configuration file's text, from which workers make the same plan; empty when the command line says all.
    var source: [UInt8] = []
    /// Where the options are written; nil for the command line.
    var origin: PlanOrigin?

    /// An error about one of the options, as somebody knows it who has written the file.
    func located(_ error: CommandError) -> CommandError {
        guard let origin, error.message.hasPrefix("--") else { return error }
        return origin.located(error)
    }
}

struct PlannedListener: Sendable {
    var address: ListenAddress
    var service: PlannedService
    /// Where it and its options are written; nil for the command line.
    var origin: PlanOrigin?
}

/// A service with its options. Two are the same when the same is written for them.
struct PlannedService: Hashable, Sendable {
    let kind: String
    let options: any ServiceOptions
    /// What is written, in an order that does not depend on the writer's.
    private let arguments: [String]

    init(_ options: any ServiceOptions, arguments: [String] = []) {
        kind = type(of: options).kind
        self.options = options
        // By names alone: in a list the order means something. Sorting is stable.
        self.arguments = arguments.sorted { Self.name($0) < Self.name($1) }
    }

    private static func name(_ argument: String) -> Substring { argument.prefix { $0 != "=" } }

    static func == (one: PlannedService, other: PlannedService) -> Bool {
        one.kind == other.kind && one.arguments == other.arguments
    }

    func hash(into hasher: inout Hasher) {
        hasher.combine(kind)
        hasher.combine(arguments)
    }

    func make(_ context: ServiceContext) throws(CommandError) -> any Service {
        do {
            return try options.makeService(context)
        } catch let error as CommandError {
            throw error
        } catch {
            throw CommandError(.serviceFailed, "the service \(kind) cannot be made: \(error)")
        }
    }
}

extension Plan {
    /// The plan of a command line with one service.
    init(
        _ listen: ListenOptions, _ options: CommonOptions, _ service: any ServiceOptions
    ) throws(CommandError) {
        self.options = options
        let addresses = try listen.addresses(default: type(of: service).listenDefault)
        try service.checkComplete()
        let service = PlannedService(service)
        listeners = addresses.map { PlannedListener(address: $0, service: service) }
    }

    var descriptorsPerConnection: Int {
        listeners.reduce(1) { max($0, $1.service.options.descriptorsPerConnection) }
    }

    // MARK: In a worker

    /// The service for the listeners that the supervisor calls by these numbers, in this plan's order. Listeners that are
    /// told the same share one service.
    func makeService(_ numbers: [UInt16], context: ServiceContext) throws(CommandError) -> any Service {
        // A host name on the command line may stand for several listeners, but then they all have the same service.
        if let first = listeners.first, listeners.allSatisfy({ $0.service == first.service }) {
            return try first.service.make(context)
        }
        guard numbers.count == listeners.count else {
            throw CommandError(
                .internalError, "the supervisor has \(numbers.count) listeners, its configuration \(listeners.count)")
        }
        var made: [PlannedService: any Service] = [:]
        var services: [UInt16: any Service] = [:]
        for (number, listener) in zip(numbers, listeners) {
            if made[listener.service] == nil { made[listener.service] = try listener.service.make(context) }
            services[number] = made[listener.service]
        }
        return ListenerServices(services, logger: context.logger)
    }

    // MARK: Reload

    /// Why a running supervisor with the plan `old` cannot go over to this one; nil when it can.
    func reloadObstacle(from old: Plan) -> String? {
        let fixed = [
            ("transport", old.options.transport.rawValue, options.transport.rawValue),
            ("control", old.options.control ?? "(none)", options.control ?? "(none)"),
            ("log-format", old.options.logFormat.rawValue, options.logFormat.rawValue),
        ]
        for (name, before, now) in fixed where before != now {
            return Self.obstacle(name, before, now)
        }
        for listener in listeners {
            guard old.listeners.contains(where: { $0.address == listener.address }) else { continue }
            guard old.options.backlog == options.backlog else {
                return Self.obstacle("backlog of \(listener.address)", "\(old.options.backlog)", "\(options.backlog)")
            }
        }
        return nil
    }

    private static func obstacle(_ name: String, _ before: String, _ now: String) -> String {
        "a reload cannot change the \(name) from \(before) to \(now)"
    }
}
