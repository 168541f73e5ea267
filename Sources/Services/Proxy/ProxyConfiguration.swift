import Transport

/// What a proxy does, as its options say.
public struct ProxyConfiguration: Hashable, Sendable {
    /// Where to connect to, at least one.
    public var upstreams: [UpstreamAddress]
    /// How an upstream is chosen.
    public var policy = UpstreamPool.Policy.roundRobin
    /// How long one attempt to connect may take.
    public var connectTimeout: Duration = .seconds(5)
    /// How long an upstream that could not be connected is left alone.
    public var restDuration: Duration = .seconds(10)
    /// How long a connection may pass no byte in either direction.
    public var idleTimeout: Duration = .seconds(600)
    /// Each client begins with a PROXY protocol header (version 1 or 2); without one it is refused.
    public var acceptsProxyHeader = false
    /// How long a client may take for its PROXY protocol header.
    public var proxyHeaderTimeout: Duration = .seconds(5)
    /// Begin each upstream connection with a PROXY protocol header of this version.
    public var sendsProxyHeader: ProxyVersion?
    /// How often host names are looked up again.
    public var resolveInterval: Duration = .seconds(30)
    /// Addresses tried for one client before it is given up, at least 1.
    public var connectAttemptsMax = 8

    /// A proxy to these upstreams, with the defaults for all else.
    public init(upstreams: [UpstreamAddress]) {
        self.upstreams = upstreams
    }
}
