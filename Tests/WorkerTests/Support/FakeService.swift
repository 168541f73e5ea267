import Glibc
import Handoff
import Transport

/// A service that records what it is told, greets each client with its listener's number, and ends connections when a
/// test says so.
final class FakeService: Service, Sendable {
    struct State: Sendable {
        var isStarted = false
        var served: [IncomingConnection] = []
        /// `adopted` in the page when each connection was given to the service.
        var adoptedWhenServed: [UInt64] = []
        /// The time that each drain was to be spread over.
        var drains: [Duration] = []
        /// How many connections may be frozen.
        var movable = 0
        /// What a frozen connection's state is.
        var stateFrozen: [UInt8] = Array("state".utf8)
        var freezing = 0
        /// Descriptors of those that came back refused, which have no turn until all others had theirs.
        var refused: Set<Int32> = []
        /// The states of thawed connections.
        var thawed: [[UInt8]] = []
        var closeAlls = 0
        var statistics = ServiceStatistics()
    }

    /// When it says that it fails.
    enum Failure { case never, atStart, onceReady }

    struct NoBread: Error, CustomStringConvertible {
        var description: String { "there is no bread" }
    }

    let state = Watched(State())
    private let isReadyAtOnce: Bool
    private let failure: Failure
    private let page: PageMirror
    // Sendable: written once, before `isStarted`, which other threads wait for under its lock.
    private nonisolated(unsafe) var host: ServiceHost?

    init(page: PageMirror, isReadyAtOnce: Bool, failure: Failure) {
        self.page = page
        self.isReadyAtOnce = isReadyAtOnce
        self.failure = failure
    }

    var descriptorsPerConnection: Int { 1 }
    var statistics: ServiceStatistics { state.value.statistics }

    func start(_ host: ServiceHost) throws {
        self.host = host
        state.update { $0.isStarted = true }
        if failure == .atStart { throw NoBread() }
        if isReadyAtOnce { host.ready() }
        if failure == .onceReady { host.loop.executeAtEndOfTurn { host.failed(NoBread()) } }
    }

    func serve(_ connection: IncomingConnection) {
        let adopted = page.adopted
        var greeting = UInt8(truncatingIfNeeded: connection.listener)
        write(connection.fd, &greeting, 1)
        state.update {
            $0.served.append(connection)
            $0.adoptedWhenServed.append(adopted)
        }
    }

    func drain(spread: Duration) { state.update { $0.drains.append(spread) } }

    var freezing: Int { state.value.freezing }

    func freeze(_ max: Int) -> Int {
        var leaving: [IncomingConnection] = []
        var bytes: [UInt8] = []
        state.update {
            let refused = $0.refused
            leaving = Array($0.served.filter { !refused.contains($0.fd) }.prefix(min(max, $0.movable)))
            let fds = Set(leaving.map(\.fd))
            $0.served.removeAll { fds.contains($0.fd) }
            $0.movable -= leaving.count
            $0.freezing += leaving.count
            bytes = $0.stateFrozen
        }
        for connection in leaving {
            host?.loop.executeAtEndOfTurn { [self, bytes] in
                state.update { $0.freezing -= 1 }
                host?.frozen(
                    FrozenConnection(
                        listener: connection.listener, peer: connection.peer, acceptedAt: connection.acceptedAt,
                        sockets: [connection.fd], state: bytes))
            }
        }
        return leaving.count
    }

    func retryRefused() { state.update { $0.refused = [] } }

    /// The state that makes no sense to this service.
    static let senseless = Array("nonsense".utf8)

    func thaw(_ frozen: consuming FrozenConnection) -> Bool {
        let bytes = frozen.state
        guard bytes != Self.senseless else { return false }
        let (listener, peer, acceptedAt) = (frozen.listener, frozen.peer, frozen.acceptedAt)
        let isRefused = frozen.isRefused
        let sockets = frozen.takeSockets()
        for extra in sockets.dropFirst() { close(extra) }
        let adopted = page.adopted
        state.update {
            $0.served.append(
                IncomingConnection(
                    fd: sockets[0], listener: listener, peer: peer, acceptedAt: acceptedAt, isShared: true))
            $0.adoptedWhenServed.append(adopted)
            $0.thawed.append(bytes)
            if isRefused { $0.refused.insert(sockets[0]) }
        }
        return true
    }

    func closeAll() {
        state.update { $0.closeAlls += 1 }
        // As a real service's connections, which end when the kernel is done with them.
        host?.loop.executeAtEndOfTurn { [self] in end(state.value.served.count) }
    }

    // MARK: For tests

    /// Says on the worker's loop that the service is ready.
    func becomeReady() throws { try onLoop { $0.host?.ready() } }

    /// Ends so many connections, the oldest first, on the worker's loop.
    func endConnections(_ count: Int) throws { try onLoop { $0.end(count) } }

    private func onLoop(_ body: @escaping @Sendable (FakeService) -> Void) throws {
        try state.wait(for: "the service to be started") { $0.isStarted }
        host?.loop.remote.execute { [self] _ in body(self) }
    }

    private func end(_ count: Int) {
        for _ in 0..<count {
            var fd: Int32 = -1
            state.update {
                fd = $0.served.isEmpty ? -1 : $0.served.removeFirst().fd
                $0.refused.remove(fd)
            }
            guard fd >= 0 else { return }
            close(fd)
            host?.connectionEnded()
        }
    }
}

/// Reads `adopted` in a worker's page from any thread, as the supervisor would.
// Sendable: the page's words are atomic, and its descriptor is constant.
final class PageMirror: @unchecked Sendable {
    private let page: StatusPage

    init(_ page: StatusPage) { self.page = page }

    var adopted: UInt64 { WorkerPage(page).adopted }
}
