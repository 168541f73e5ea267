import Dispatch
import NIOCore
import Transport

/// What has the addresses of a name, with a port; may block.
typealias LookUp = @Sendable (_ host: String, _ port: UInt16) throws(HostLookupError) -> [CoreAddress]

/// One of the addresses of a name: attempts begin one after the other, each a while after the one before or as soon as that
/// has failed, and the first that succeeds is taken (RFC 8305, without its sorting: getaddrinfo(3) has sorted them). The others
/// are given up then, as they are when the time is over.
///
/// Unchecked: on the loop's thread only, from ``begin(_:)`` on.
final class AddressRace<Output: Sendable>: @unchecked Sendable {
    struct Attempt {
        var result: EventLoopFuture<Output>
        /// Gives it up. On the loop's thread; what it brings all the same is discarded.
        var giveUp: () -> Void
    }

    private let loop: RingEventLoop
    private let attempt: @Sendable (NIOCore.SocketAddress) -> Attempt
    private let discard: @Sendable (Output) -> Void
    private let promise: EventLoopPromise<Output>
    private var addresses: ArraySlice<NIOCore.SocketAddress> = []
    /// What gives up the attempts that go on, by their numbers.
    private var running: [Int: () -> Void] = [:]
    private var begun = 0
    private var isOver = false
    private var next: Scheduled<Void>?
    private var deadline: Scheduled<Void>?
    private var lastError: any Error = ChannelError.connectPending

    /// How long an attempt goes on alone.
    private static var headStart: TimeAmount { .milliseconds(250) }

    private init(
        _ loop: RingEventLoop, attempt: @escaping @Sendable (NIOCore.SocketAddress) -> Attempt,
        discard: @escaping @Sendable (Output) -> Void
    ) {
        self.loop = loop
        self.attempt = attempt
        self.discard = discard
        promise = loop.makePromise()
    }

    /// Looks `host` up on another thread, then connects on `loop`.
    ///
    /// - Parameters:
    ///   - attempt: begins to connect to an address. Loop thread.
    ///   - discard: is given what an attempt has brought that came too late.
    static func run(
        _ host: String, _ port: UInt16, on loop: RingEventLoop, timeout: TimeAmount,
        lookUp: @escaping LookUp,
        attempt: @escaping @Sendable (NIOCore.SocketAddress) -> Attempt,
        discard: @escaping @Sendable (Output) -> Void
    ) -> EventLoopFuture<Output> {
        let race = AddressRace(loop, attempt: attempt, discard: discard)
        loop.execute { race.limit(to: timeout) }
        // getaddrinfo(3) blocks, for many seconds when a name server is silent. The threads of the global queues are as many as
        // there are cores, and asynchronous code has no others: a queue of its own brings a thread (of libdispatch's 255).
        DispatchQueue(label: "ringmaster.look-up").async {
            do throws(HostLookupError) {
                let addresses = try lookUp(host, port).map(NIOCore.SocketAddress.init)
                loop.execute { race.begin(addresses) }
            } catch {
                loop.execute { race.end(.failure(error)) }
            }
        }
        return race.promise.futureResult
    }

    private func limit(to timeout: TimeAmount) {
        guard !isOver else { return }
        deadline = loop.scheduleTask(in: timeout) { self.end(.failure(ChannelError.connectTimeout(timeout))) }
        // Cancelled by the end of the race, or of the loop.
        deadline?.futureResult.assumeIsolated().whenFailure { self.end(.failure($0)) }
    }

    private func begin(_ addresses: [NIOCore.SocketAddress]) {
        self.addresses = addresses[...]
        beginNext()
    }

    private func beginNext() {
        guard !isOver else { return }
        next?.cancel()
        guard let address = addresses.popFirst() else {
            if running.isEmpty { end(.failure(lastError)) }
            return
        }
        let number = begun
        begun += 1
        let attempt = attempt(address)
        running[number] = attempt.giveUp
        attempt.result.assumeIsolated().whenComplete { self.ended(number, $0) }
        if !isOver, !addresses.isEmpty { next = loop.scheduleTask(in: Self.headStart) { self.beginNext() } }
    }

    private func ended(_ number: Int, _ result: Result<Output, any Error>) {
        running[number] = nil
        switch result {
        case .success(let output):
            if isOver { discard(output) } else { end(.success(output)) }
        case .failure(let error):
            lastError = error
            beginNext()
        }
    }

    private func end(_ result: Result<Output, any Error>) {
        guard !isOver else { return }
        isOver = true
        next?.cancel()
        deadline?.cancel()
        let losers = running
        running = [:]
        for giveUp in losers.values { giveUp() }
        promise.completeWith(result)
    }
}
