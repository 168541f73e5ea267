import ArgumentParser
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

/// What a proxy is told.
struct ProxyOptions: NamedOptions {
    @Option(
        name: .long, parsing: .singleValue,
        help: ArgumentHelp(
            "Where to connect to; repeatable. \(variable("upstream"))", valueName: "HOST:PORT|[V6]:PORT|unix:/path"))
    var upstream: [String] = []

    @Option(
        name: .long,
        help: ArgumentHelp(
            "How an upstream is chosen: round-robin or least-connections. \(variable("upstream-policy"))",
            valueName: "POLICY"))
    var upstreamPolicy: UpstreamPool.Policy = .roundRobin

    @Option(
        name: .long,
        help: ArgumentHelp(
            "One attempt to connect takes at most this long. \(variable("connect-timeout"))", valueName: "SECONDS"))
    var connectTimeout: Seconds = Seconds(5)

    @Option(
        name: .long,
        help: ArgumentHelp(
            "An upstream that failed is left alone for this long. \(variable("upstream-rest"))", valueName: "SECONDS"))
    var upstreamRest: Seconds = Seconds(10)

    @Option(
        name: .long,
        help: ArgumentHelp(
            "A connection that passes no byte for this long is closed. \(variable("idle-timeout"))",
            valueName: "SECONDS"))
    var idleTimeout: Seconds = Seconds(600)

    @Flag(
        name: .long,
        help:
            "Clients begin with a PROXY protocol header (v1 or v2), as another proxy sends it. \(variable("accept-proxy"))"
    )
    var acceptProxy = false

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Begin each upstream connection with a PROXY protocol header: v1 or v2. \(variable("send-proxy"))",
            valueName: "VERSION"))
    var sendProxy: ProxyVersion?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Host names are looked up again this often. \(variable("resolve-interval"))", valueName: "SECONDS"))
    var resolveInterval: Seconds = Seconds(30)

    static let names = [
        OptionName("upstream", .list), OptionName("upstream-policy"), OptionName("connect-timeout"),
        OptionName("upstream-rest"), OptionName("idle-timeout"), OptionName("accept-proxy", .flag),
        OptionName("send-proxy"), OptionName("resolve-interval"),
    ]

    static let upstreamsMax = 1024

    func checkValues() throws(CommandError) {
        guard upstream.count <= Self.upstreamsMax else {
            throw CommandError(
                .badUsage, "--upstream is given \(upstream.count) times: \(Self.upstreamsMax) are the most")
        }
        for (name, value) in [
            ("connect-timeout", connectTimeout), ("idle-timeout", idleTimeout), ("resolve-interval", resolveInterval),
        ] where value.duration == .zero {
            throw CommandError(.badUsage, "--\(name) 0 makes no sense: give a positive number of seconds")
        }
        _ = try upstreams()
    }

    private func upstreams() throws(CommandError) -> [UpstreamAddress] {
        var addresses: [UpstreamAddress] = []
        for text in upstream {
            do throws(AddressSyntaxError) {
                addresses.append(try UpstreamAddress(parsing: text))
            } catch {
                throw CommandError(.badUsage, "--upstream \(error)")
            }
        }
        return addresses
    }

    /// What the options say, checked.
    func configuration() throws(CommandError) -> ProxyConfiguration {
        guard !upstream.isEmpty else {
            throw CommandError(
                .badUsage, "--upstream is missing: say where to connect to, for example --upstream 127.0.0.1:6379")
        }
        try checkValues()
        var configuration = ProxyConfiguration(upstreams: try upstreams())
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
