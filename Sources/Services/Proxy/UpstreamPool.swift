import Transport

/// Chooses the upstream for each new connection. Pure: no clock, no socket, no look-up inside.
///
/// An upstream is known by its index. It may have several addresses (a host name with several records); they are used in
/// turn. An address that failed rests for ``restDuration`` and is skipped meanwhile, so one dead record of a name does not
/// take the others out of service. The first choice after the rest probes the address: it rests on for everybody else
/// until the probe succeeds, or for one more ``restDuration`` when nothing is heard of the probe.
public struct UpstreamPool: Sendable {
    /// How to choose among the upstreams that are not resting.
    public enum Policy: Hashable, Sendable, CaseIterable {
        /// Each in turn.
        case roundRobin
        /// The one with the fewest connections; among equals each in turn.
        case leastConnections
    }

    /// Where to connect to.
    public struct Choice: Hashable, Sendable {
        /// The upstream's index.
        public let upstream: Int
        /// One of its addresses.
        public let address: SocketAddress
    }

    /// How to choose.
    public let policy: Policy
    /// How long a failed address is left alone.
    public let restDuration: Duration

    /// Connections that another process made to addresses which no upstream has.
    public private(set) var connectionsElsewhere = 0

    private var upstreams: [UpstreamState]
    /// The upstream chosen last; the next turn begins after it.
    private var lastChosen: Int

    /// A pool of as many upstreams as `addresses` has elements; one whose addresses are not known yet has an empty list.
    ///
    /// - Precondition: `addresses` is not empty.
    public init(addresses: [[SocketAddress]], policy: Policy, restDuration: Duration = .seconds(10)) {
        precondition(!addresses.isEmpty, "a pool has at least one upstream")
        self.policy = policy
        self.restDuration = restDuration
        upstreams = addresses.map { UpstreamState(addresses: $0) }
        lastChosen = addresses.count - 1
    }

    /// The number of upstreams.
    public var count: Int { upstreams.count }

    /// The connections that upstream `index` has now.
    public func connections(of index: Int) -> Int { upstreams[index].connections }

    /// Where to connect to next, or nil when everything known has been tried.
    ///
    /// - Parameter tried: the choices that failed for this connection already; none of them is returned.
    ///
    /// While all that is left untried rests, it is the address whose rest ends first: better a poor chance than none.
    public mutating func choose(excluding tried: [Choice] = [], now: MonotonicTime) -> Choice? {
        var best: (upstream: Int, address: Int)?
        for turn in 1...upstreams.count {
            let index = (lastChosen + turn) % upstreams.count
            if let found = best, policy == .roundRobin || !isLessLoaded(index, than: found.upstream) { continue }
            guard let address = upstreams[index].nextReady(excluding: tried, upstream: index, now: now) else {
                continue
            }
            best = (index, address)
        }
        if let best { return take(best.upstream, best.address, restingUntil: now + restDuration) }
        guard let resting = soonestRested(excluding: tried) else { return nil }
        return take(resting.upstream, resting.address, restingUntil: nil)
    }

    /// A connection to upstream `index` is being made; counts until ``connectionEnded(_:)``.
    public mutating func connectionStarted(_ index: Int) {
        upstreams[index].connections += 1
    }

    /// A connection to `address` that another process has made goes on here; counts until ``connectionEnded(_:)``.
    ///
    /// - Returns: the upstream that has the address; nil when none has, as after a change of configuration: it is then
    ///   one of ``connectionsElsewhere``.
    public mutating func connectionCame(to address: SocketAddress) -> Int? {
        guard let index = upstreams.firstIndex(where: { $0.targets.contains { $0.address == address } }) else {
            connectionsElsewhere += 1
            return nil
        }
        connectionStarted(index)
        return index
    }

    /// A connection counted by ``connectionStarted(_:)`` or ``connectionCame(to:)`` is over here: closed, failed, given up
    /// or moved away. `index` is what the latter returned.
    public mutating func connectionEnded(_ index: Int?) {
        guard let index else {
            precondition(connectionsElsewhere > 0, "a connection ends once")
            connectionsElsewhere -= 1
            return
        }
        precondition(upstreams[index].connections > 0, "a connection ends once")
        upstreams[index].connections -= 1
    }

    /// Connecting to `choice` failed: it rests from `now`.
    public mutating func connectFailed(_ choice: Choice, now: MonotonicTime) {
        upstreams[choice.upstream].setRest(of: choice.address, until: now + restDuration)
    }

    /// Connecting to `choice` succeeded: its rest is over.
    public mutating func connectSucceeded(_ choice: Choice) {
        upstreams[choice.upstream].setRest(of: choice.address, until: nil)
    }

    /// Upstream `index` now has these addresses. An empty list is ignored: the last good answer is kept.
    ///
    /// An address that stays keeps its rest; a connection to one that went is left alone.
    public mutating func updateAddresses(_ index: Int, _ addresses: [SocketAddress]) {
        guard !addresses.isEmpty else { return }
        upstreams[index].replaceAddresses(addresses)
    }

    private func isLessLoaded(_ index: Int, than other: Int) -> Bool {
        upstreams[index].connections < upstreams[other].connections
    }

    private mutating func take(_ index: Int, _ address: Int, restingUntil: MonotonicTime?) -> Choice {
        lastChosen = index
        return Choice(upstream: index, address: upstreams[index].take(address, probingUntil: restingUntil))
    }

    private func soonestRested(excluding tried: [Choice]) -> (upstream: Int, address: Int)? {
        var best: (upstream: Int, address: Int, until: MonotonicTime)?
        for (index, upstream) in upstreams.enumerated() {
            for (position, target) in upstream.targets.enumerated() {
                guard let until = target.restsUntil, best.map({ until < $0.until }) ?? true,
                    !tried.contains(Choice(upstream: index, address: target.address))
                else { continue }
                best = (index, position, until)
            }
        }
        return best.map { ($0.upstream, $0.address) }
    }
}

/// One upstream of a pool.
private struct UpstreamState: Sendable {
    /// One address of an upstream.
    struct Target: Sendable {
        let address: SocketAddress
        /// Nil while nothing is known against it.
        var restsUntil: MonotonicTime?
    }

    private(set) var targets: [Target]
    var connections = 0
    /// The target whose turn it is, modulo their number, which changes with each answer of the resolver.
    private var next = 0

    init(addresses: [SocketAddress]) {
        targets = addresses.map { Target(address: $0) }
    }

    /// The position of the first target in turn that is neither tried nor resting.
    func nextReady(excluding tried: [UpstreamPool.Choice], upstream: Int, now: MonotonicTime) -> Int? {
        for turn in 0..<targets.count {
            let position = (next + turn) % targets.count
            let target = targets[position]
            if let until = target.restsUntil, until > now { continue }
            if tried.contains(UpstreamPool.Choice(upstream: upstream, address: target.address)) { continue }
            return position
        }
        return nil
    }

    /// Gives out the target; one that has been resting is left to this probe until `probingUntil`.
    mutating func take(_ position: Int, probingUntil: MonotonicTime?) -> SocketAddress {
        next = (position + 1) % targets.count
        if let probingUntil, targets[position].restsUntil != nil {
            targets[position].restsUntil = probingUntil
        }
        return targets[position].address
    }

    mutating func setRest(of address: SocketAddress, until: MonotonicTime?) {
        guard let position = targets.firstIndex(where: { $0.address == address }) else { return }
        targets[position].restsUntil = until
    }

    mutating func replaceAddresses(_ addresses: [SocketAddress]) {
        targets = addresses.map { address in
            targets.first { $0.address == address } ?? Target(address: address)
        }
    }
}
