import ArgumentParser
import Ringmaster
import Services
import Transport

extension UpstreamPool.Policy: ExpressibleByArgument {
    /// The names on the command line.
    static let names: [(String, UpstreamPool.Policy)] = [
        ("round-robin", .roundRobin), ("least-connections", .leastConnections),
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

extension ProxyVersion: ExpressibleByArgument {
    /// Reads a name from the command line.
    public init?(argument: String) {
        switch argument {
        case "v1": self = .v1
        case "v2": self = .v2
        default: return nil
        }
    }

    /// All names, for help texts.
    public static var allValueStrings: [String] { ["v1", "v2"] }
}

/// `ringmaster proxy`, and what it is told.
struct ProxyOptions: ServiceOptions {
    static let kind = "proxy"
    static let abstract = "Passes TCP or Unix-domain connections on to upstream servers."
    static let discussion = """
        Bytes, end of file and resets pass in both directions. When an upstream cannot be connected the next one is \
        tried, and the failed one is left alone for a while. Host names are looked up again and again; the last good \
        answer is kept.

        Examples:
          ringmaster proxy --listen 0.0.0.0:6379 --upstream redis:6379
          ringmaster proxy --listen unix:/run/pg.sock --upstream db:5432
        """

    @Option(
        name: .long, parsing: .singleValue,
        help: ArgumentHelp(
            "Where to connect to; repeatable. \(EnvironmentArguments.note("upstream"))",
            valueName: "HOST:PORT|[V6]:PORT|unix:/path"))
    var upstream: [String] = []

    @Option(
        name: .long,
        help: ArgumentHelp(
            "How an upstream is chosen: round-robin or least-connections. \(EnvironmentArguments.note("upstream-policy"))",
            valueName: "POLICY"))
    var upstreamPolicy: UpstreamPool.Policy = .roundRobin

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp(
            "One attempt to connect takes at most this long. \(EnvironmentArguments.note("connect-timeout"))",
            valueName: "SECONDS"))
    var connectTimeout: Seconds = Seconds(5)

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp(
            "An upstream that failed is left alone for this long. \(EnvironmentArguments.note("upstream-rest"))",
            valueName: "SECONDS"))
    var upstreamRest: Seconds = Seconds(10)

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp(
            "A connection that passes no byte for this long is closed. \(EnvironmentArguments.note("idle-timeout"))",
            valueName: "SECONDS"))
    var idleTimeout: Seconds = Seconds(600)

    @Flag(
        name: .long,
        help:
            "Clients begin with a PROXY protocol header (v1 or v2), as another proxy sends it. \(EnvironmentArguments.note("accept-proxy"))"
    )
    var acceptProxy = false

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Begin each upstream connection with a PROXY protocol header: v1 or v2. \(EnvironmentArguments.note("send-proxy"))",
            valueName: "VERSION"))
    var sendProxy: ProxyVersion?

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp(
            "Host names are looked up again this often. \(EnvironmentArguments.note("resolve-interval"))",
            valueName: "SECONDS"))
    var resolveInterval: Seconds = Seconds(30)

    static let upstreamsMax = 1024

    mutating func validate() throws {
        guard upstream.count <= Self.upstreamsMax else {
            throw ValidationError(
                "--upstream is given \(upstream.count) times: \(Self.upstreamsMax) are the most")
        }
        for (name, value) in [
            ("connect-timeout", connectTimeout), ("idle-timeout", idleTimeout), ("resolve-interval", resolveInterval),
        ] where value.duration == .zero {
            throw ValidationError("--\(name) 0 makes no sense: give a positive number of seconds")
        }
        for text in upstream {
            do {
                _ = try UpstreamAddress(parsing: text)
            } catch {
                throw ValidationError("--upstream \(error)")
            }
        }
    }

    /// Each can be read: ``validate()`` has seen to it.
    private var addresses: [UpstreamAddress] { upstream.compactMap { try? UpstreamAddress(parsing: $0) } }

    /// The client's connection and its upstream's.
    var descriptorsPerConnection: Int { 2 }

    func checkComplete() throws(CommandError) {
        guard !upstream.isEmpty else {
            throw CommandError(
                "--upstream is missing: say where to connect to, for example --upstream 127.0.0.1:6379")
        }
    }

    func checkReachable() throws(CommandError) {
        for case .name(let host, let port) in Set(addresses) {
            do throws(HostLookupError) {
                _ = try HostLookup.addresses(of: host, port: port)
            } catch {
                throw CommandError("--upstream \(host):\(port): \(error)")
            }
        }
    }

    func makeService(_ context: ServiceContext) -> any Service {
        ProxyService(configuration, logger: context.logger)
    }

    /// What the options say, which are complete.
    var configuration: ProxyConfiguration {
        var configuration = ProxyConfiguration(upstreams: addresses)
        configuration.policy = upstreamPolicy
        configuration.connectTimeout = connectTimeout.duration
        configuration.restDuration = upstreamRest.duration
        configuration.idleTimeout = idleTimeout.duration
        configuration.acceptsProxyHeader = acceptProxy
        configuration.sendsProxyHeader = sendProxy
        configuration.resolveInterval = resolveInterval.duration
        return configuration
    }
}
