import Handoff
import Logging
import Services
import Supervisor
import Transport

/// What to serve, as options or a configuration file say: checked for itself, nothing looked up, nothing bound.
struct Plan: Sendable {
    var options: CommonOptions
    /// At least one, in the order in which they are given.
    var listeners: [PlannedListener]
    /// The configuration file's text, from which workers make the same plan; empty when the command line says all.
    var source: [UInt8] = []
}

struct PlannedListener: Sendable {
    var address: ListenAddress
    var service: PlannedService
    /// Where it is written, for messages, such as `ringmaster.yaml:7: `; empty for the command line.
    var place = ""
}

/// A service with its options.
enum PlannedService: Hashable, Sendable {
    case echo
    case proxy(ProxyConfiguration)

    /// The names of all services.
    static let kinds = ["echo", "proxy"]
    static let echoDescriptors = 1
    static let proxyDescriptors = 2

    /// Its name, one of ``kinds``.
    var kind: String {
        switch self {
        case .echo: "echo"
        case .proxy: "proxy"
        }
    }

    /// What one connection needs in a worker.
    var descriptorsPerConnection: Int {
        switch self {
        case .echo: Self.echoDescriptors
        case .proxy: Self.proxyDescriptors
        }
    }

    func make(_ logger: Logger) -> any Service {
        switch self {
        case .echo: EchoService()
        case .proxy(let configuration): ProxyService(configuration, logger: logger)
        }
    }
}

extension Plan {
    /// The plan of a command line with one service.
    init(_ listen: ListenOptions, _ options: CommonOptions, _ service: PlannedService) throws(CommandError) {
        try options.checkValues()
        self.options = options
        listeners = try listen.addresses().map { PlannedListener(address: $0, service: service) }
    }

    var descriptorsPerConnection: Int {
        listeners.reduce(1) { max($0, $1.service.descriptorsPerConnection) }
    }

    // MARK: In a worker

    /// The service for the listeners that the supervisor calls by these numbers, in this plan's order. Listeners that are
    /// told the same share one service.
    func makeService(_ numbers: [UInt16], logger: Logger) throws(CommandError) -> any Service {
        // A host name on the command line may stand for several listeners, but then they all have the same service.
        if let first = listeners.first, listeners.allSatisfy({ $0.service == first.service }) {
            return first.service.make(logger)
        }
        guard numbers.count == listeners.count else {
            throw CommandError(
                .internalError, "the supervisor has \(numbers.count) listeners, its configuration \(listeners.count)")
        }
        var made: [PlannedService: any Service] = [:]
        var services: [UInt16: any Service] = [:]
        for (number, listener) in zip(numbers, listeners) {
            let service = made[listener.service] ?? listener.service.make(logger)
            made[listener.service] = service
            services[number] = service
        }
        return ListenerServices(services, logger: logger)
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
        "a reload cannot change the \(name) from \(before) to \(now): restart ringmaster for that"
    }
}
