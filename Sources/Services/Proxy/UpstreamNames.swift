import Logging
import Transport

/// Keeps the addresses of upstreams that are given by host name fresh: looks them up off the loop, again and again.
/// Loop thread only.
final class UpstreamNames {
    /// How soon a name that has no address yet is looked up again.
    private static let retryInterval: Duration = .seconds(1)

    private let loop: EventLoop
    private let resolver: Resolver
    private let names: [(upstream: Int, host: String, port: UInt16)]
    private let interval: Duration
    private let logger: Logger
    private let update: (Int, [SocketAddress]) -> Void
    private var lastAnswers: [Int: [SocketAddress]] = [:]
    private var failing: Set<Int> = []
    private var timers: [LoopTimer] = []

    /// Looks up nothing yet. `update` is called on the loop with each answer that differs from the last.
    init(
        _ loop: EventLoop, resolver: Resolver, upstreams: [UpstreamAddress], interval: Duration, logger: Logger,
        update: @escaping (Int, [SocketAddress]) -> Void
    ) {
        self.loop = loop
        self.resolver = resolver
        self.interval = interval
        self.logger = logger
        self.update = update
        names = upstreams.enumerated().compactMap { index, upstream in
            guard case .name(let host, let port) = upstream else { return nil }
            return (index, host, port)
        }
    }

    func start() {
        timers = names.map { name in
            LoopTimer(loop) { [unowned self] in lookUp(name) }
        }
        for timer in timers { timer.arm(after: .zero) }
    }

    private func lookUp(_ name: (upstream: Int, host: String, port: UInt16)) {
        let box = LoopBound(self)
        let remote = loop.remote
        do throws(HostLookupError) {
            try resolver.resolve(host: name.host, port: name.port) { result in
                remote.execute { _ in box.value?.answered(name, result) }
            }
        } catch {
            answered(name, .failure(error))
        }
    }

    private func answered(
        _ name: (upstream: Int, host: String, port: UInt16), _ result: Result<[SocketAddress], HostLookupError>
    ) {
        // Stopped while the name was being looked up.
        guard !timers.isEmpty else { return }
        switch result {
        case .success(let addresses):
            if failing.remove(name.upstream) != nil {
                logger.info("host name found again", metadata: ["host": "\(name.host)"])
            }
            if Set(addresses) != Set(lastAnswers[name.upstream] ?? []) {
                lastAnswers[name.upstream] = addresses
                update(name.upstream, addresses)
            }
        case .failure(let error):
            // Said once per outage; the last good answer stays in use.
            if failing.insert(name.upstream).inserted {
                logger.warning("host name not found", metadata: ["host": "\(name.host)", "error": "\(error)"])
            }
        }
        guard let index = names.firstIndex(where: { $0.upstream == name.upstream }) else { return }
        timers[index].arm(after: lastAnswers[name.upstream] == nil ? Self.retryInterval : interval)
    }

    func stop() {
        for timer in timers { timer.cancel() }
        timers = []
        resolver.stop()
    }
}

/// Carries a reference through other threads back to the loop it belongs to.
// Sendable: `value` is read on the loop's thread only; elsewhere the box is merely passed on.
private struct LoopBound<Value: AnyObject>: @unchecked Sendable {
    weak var value: Value?
    init(_ value: Value) { self.value = value }
}
