import Testing
import Transport

@testable import Services

private func address(_ host: UInt32) -> SocketAddress { .ipv4(host, port: 6379) }
private func second(_ seconds: UInt64) -> MonotonicTime { MonotonicTime(nanoseconds: seconds * 1_000_000_000) }

/// A pool whose upstream i has the one address i.
private func pool(_ count: Int, _ policy: UpstreamPool.Policy = .roundRobin) -> UpstreamPool {
    UpstreamPool(addresses: (0..<count).map { [address(UInt32($0))] }, policy: policy)
}

extension UpstreamPool {
    fileprivate mutating func chooseMany(_ count: Int, at now: MonotonicTime) -> [Int?] {
        (0..<count).map { _ in choose(now: now)?.upstream }
    }

    fileprivate mutating func mustChoose(excluding tried: [Choice] = [], now: MonotonicTime) throws -> Choice {
        let choice = choose(excluding: tried, now: now)
        return try #require(choice)
    }

    fileprivate mutating func fail(_ index: Int, at now: MonotonicTime) {
        connectFailed(Choice(upstream: index, address: address(UInt32(index))), now: now)
    }
}

@Suite("upstream pool")
struct UpstreamPoolTests {
    @Test("round robin gives each upstream its turn, from the first on")
    func roundRobin() {
        var pool = pool(3)
        #expect(pool.chooseMany(7, at: second(0)) == [0, 1, 2, 0, 1, 2, 0])
    }

    @Test("round robin is exactly fair among the healthy while one rests")
    func fairAmongHealthy() {
        var pool = pool(4)
        pool.fail(1, at: second(0))
        var counts = [0, 0, 0, 0]
        for _ in 0..<300 { counts[pool.choose(now: second(9))!.upstream] += 1 }
        #expect(counts == [100, 0, 100, 100])
    }

    @Test("least connections takes the least loaded, and equals in turn")
    func leastConnections() {
        var pool = pool(3, .leastConnections)
        #expect(pool.chooseMany(4, at: second(0)) == [0, 1, 2, 0], "nothing started: all are equal")
        pool.connectionStarted(0)
        pool.connectionStarted(1)
        pool.connectionStarted(1)
        #expect(pool.chooseMany(2, at: second(0)) == [2, 2])
        pool.connectionStarted(2)
        #expect(pool.chooseMany(3, at: second(0)) == [0, 2, 0], "0 and 2 have one connection each")
        pool.connectionEnded(1)
        pool.connectionEnded(1)
        #expect(pool.choose(now: second(0))?.upstream == 1)
        #expect((0..<3).map { pool.connections(of: $0) } == [1, 0, 1])
    }

    @Test("under least connections the loads never differ by more than one")
    func leastConnectionsStaysLevel() {
        var pool = pool(3, .leastConnections)
        for started in 1...100 {
            pool.connectionStarted(pool.choose(now: second(0))!.upstream)
            let loads = (0..<3).map { pool.connections(of: $0) }
            #expect(loads.max()! - loads.min()! <= 1 && loads.reduce(0, +) == started)
        }
    }

    @Test("what was tried for a connection is not offered to it again", arguments: UpstreamPool.Policy.allCases)
    func excluding(policy: UpstreamPool.Policy) {
        var pool = pool(3, policy)
        var tried: [UpstreamPool.Choice] = []
        while let choice = pool.choose(excluding: tried, now: second(0)) {
            #expect(!tried.contains(choice))
            pool.connectFailed(choice, now: second(0))
            tried.append(choice)
        }
        #expect(Set(tried.map(\.upstream)) == [0, 1, 2])
    }

    @Test("a failed upstream is skipped for ten seconds and then probed by one connection at a time")
    func restAndProbe() {
        var pool = pool(2)
        pool.fail(0, at: second(100))
        #expect(pool.chooseMany(3, at: MonotonicTime(nanoseconds: second(110).nanoseconds - 1)) == [1, 1, 1])
        #expect(pool.chooseMany(4, at: second(110)) == [0, 1, 1, 1], "the probe is on its way; nobody else goes there")
        #expect(pool.chooseMany(3, at: second(119)) == [1, 1, 1])
        #expect(pool.chooseMany(3, at: second(120)) == [0, 1, 1], "nothing was heard of the probe: another one")
    }

    @Test("a probe that succeeds ends the rest, one that fails begins another")
    func probeOutcome() throws {
        var pool = pool(2)
        pool.fail(0, at: second(0))
        let probe = try pool.mustChoose(now: second(10))
        #expect(probe.upstream == 0)
        pool.connectFailed(probe, now: second(13))
        #expect(pool.chooseMany(2, at: second(22)) == [1, 1])
        let again = try pool.mustChoose(now: second(23))
        #expect(again.upstream == 0)
        pool.connectSucceeded(again)
        #expect(pool.chooseMany(4, at: second(23)) == [1, 0, 1, 0])
    }

    @Test("while all rest, the one whose rest ends first is tried", arguments: UpstreamPool.Policy.allCases)
    func allResting(policy: UpstreamPool.Policy) throws {
        var pool = pool(3, policy)
        pool.fail(2, at: second(1))
        pool.fail(0, at: second(2))
        pool.fail(1, at: second(3))
        let first = try pool.mustChoose(now: second(4))
        #expect(first.upstream == 2)
        let next = try pool.mustChoose(excluding: [first], now: second(4))
        #expect(next.upstream == 0)
        let last = try pool.mustChoose(excluding: [first, next], now: second(4))
        #expect(last.upstream == 1)
        #expect(pool.choose(excluding: [first, next, last], now: second(4)) == nil)
    }

    @Test("a single upstream that is down is still tried for each connection")
    func singleUpstream() {
        var pool = pool(1)
        pool.fail(0, at: second(0))
        #expect(pool.chooseMany(3, at: second(1)) == [0, 0, 0])
    }

    @Test("the addresses of one upstream are used in turn, beside the turns of the upstreams")
    func addressesInTurn() {
        var pool = UpstreamPool(addresses: [[address(1), address(2)], [address(9)]], policy: .roundRobin)
        let hosts = (0..<6).map { _ in pool.choose(now: second(0))?.address }
        #expect(hosts == [1, 9, 2, 9, 1, 9].map(address))
    }

    @Test("one dead address of a name rests alone and its connection goes to the next address")
    func deadAddress() throws {
        var pool = UpstreamPool(addresses: [[address(1), address(2)]], policy: .leastConnections)
        let first = try pool.mustChoose(now: second(0))
        #expect(first.address == address(1))
        pool.connectFailed(first, now: second(0))
        let next = try pool.mustChoose(excluding: [first], now: second(0))
        #expect(next.address == address(2))
        pool.connectSucceeded(next)
        #expect((0..<3).map { _ in pool.choose(now: second(1))?.address } == [2, 2, 2].map(address))
        #expect(pool.choose(now: second(10))?.address == address(1), "probed after its rest")
    }

    @Test("an upstream without an address is never chosen until it has one")
    func unresolved() {
        var pool = UpstreamPool(addresses: [[], [address(1)]], policy: .roundRobin)
        #expect(pool.chooseMany(2, at: second(0)) == [1, 1])
        pool.updateAddresses(0, [address(7)])
        #expect(pool.choose(now: second(0)) == UpstreamPool.Choice(upstream: 0, address: address(7)))
        var nothing = UpstreamPool(addresses: [[]], policy: .roundRobin)
        #expect(nothing.choose(now: second(0)) == nil)
    }

    @Test("new addresses replace the old, keep the rest of one that stays, and an empty answer changes nothing")
    func update() {
        var pool = UpstreamPool(addresses: [[address(1), address(2)]], policy: .roundRobin)
        pool.connectFailed(UpstreamPool.Choice(upstream: 0, address: address(2)), now: second(0))
        pool.updateAddresses(0, [])
        #expect((0..<2).map { _ in pool.choose(now: second(1))?.address } == [1, 1].map(address))
        pool.updateAddresses(0, [address(2), address(3)])
        #expect((0..<2).map { _ in pool.choose(now: second(1))?.address } == [3, 3].map(address))
        pool.connectFailed(UpstreamPool.Choice(upstream: 0, address: address(1)), now: second(1))
        pool.updateAddresses(0, [address(1)])
        #expect(pool.choose(now: second(1))?.address == address(1), "a failure of an address that is gone is forgotten")
    }

    @Test("the turn survives an answer with fewer addresses")
    func fewerAddresses() {
        var pool = UpstreamPool(addresses: [(0..<5).map(address)], policy: .roundRobin)
        for _ in 0..<4 { _ = pool.choose(now: second(0)) }
        pool.updateAddresses(0, [address(0), address(1)])
        #expect((0..<2).map { _ in pool.choose(now: second(0))?.address } == [0, 1].map(address))
    }

    @Test("whatever happens, a choice is untried, counts stay true, and a healthy upstream is preferred")
    func simulation() {
        for seed in 0..<200 as Range<UInt64> {
            var random = SplitMix64(seed: seed)
            let policy: UpstreamPool.Policy = seed % 2 == 0 ? .roundRobin : .leastConnections
            var pool = pool(4, policy)
            var restsUntil = [UInt64](repeating: 0, count: 4)
            var connections = [0, 0, 0, 0]
            for now in 0..<200 as Range<UInt64> {
                var tried: [UpstreamPool.Choice] = []
                for _ in 0..<4 {
                    guard let choice = pool.choose(excluding: tried, now: second(now)) else {
                        Issue.record("no choice after \(tried.count) of 4 tried, seed \(seed)")
                        break
                    }
                    #expect(!tried.contains(choice), "seed \(seed)")
                    let isUntried = { index in !tried.contains { $0.upstream == index } }
                    let ready = (0..<4).filter { restsUntil[$0] <= now && isUntried($0) }
                    #expect(ready.isEmpty || ready.contains(choice.upstream), "seed \(seed)")
                    pool.connectionStarted(choice.upstream)
                    connections[choice.upstream] += 1
                    tried.append(choice)
                    if Int.random(in: 0..<3, using: &random) > 0 {
                        pool.connectSucceeded(choice)
                        restsUntil[choice.upstream] = 0
                        break
                    }
                    pool.connectFailed(choice, now: second(now))
                    restsUntil[choice.upstream] = now + 10
                    pool.connectionEnded(choice.upstream)
                    connections[choice.upstream] -= 1
                }
                let ending = Int.random(in: 0..<4, using: &random)
                if connections[ending] > 0 {
                    pool.connectionEnded(ending)
                    connections[ending] -= 1
                }
                #expect((0..<4).map { pool.connections(of: $0) } == connections, "seed \(seed)")
            }
        }
    }
}
