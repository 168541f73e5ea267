import NIOCore

extension NIOCore.EventLoopGroup {
    /// Whether all its loops are of this module.
    var isRingGroup: Bool { makeIterator().allSatisfy { $0 is RingEventLoop } }

    /// The next loop, which must be one of this module.
    func nextRingLoop() -> RingEventLoop {
        guard let loop = next() as? RingEventLoop else {
            preconditionFailure("the bootstraps of RingmasterNIO are for a RingEventLoopGroup or a RingEventLoop")
        }
        return loop
    }

    /// What `make` does with the address; fails where there is none.
    func withAddress<Output: Sendable>(
        _ address: () throws -> NIOCore.SocketAddress, _ make: (NIOCore.SocketAddress) -> EventLoopFuture<Output>
    ) -> EventLoopFuture<Output> {
        do {
            return make(try address())
        } catch {
            return next().makeFailedFuture(error)
        }
    }
}

/// What a stream socket of a bootstrap speaks below SwiftNIO.
enum StreamProtocol: Sendable {
    /// TCP, or what its family has.
    case usual
    /// Several paths under one connection (RFC 8684); TCP with a peer that does not know it.
    case multipath

    /// A new socket. Where the kernel has no MPTCP, `socket` fails with EPROTONOSUPPORT, or EINVAL before Linux 5.6; where it is
    /// switched off (`net.mptcp.enabled`), with ENOPROTOOPT.
    func socket(for address: NIOCore.SocketAddress) throws(CoreError) -> Int32 {
        // IPPROTO_MPTCP of <linux/in.h>.
        try CoreSocket.stream(CoreAddress(address).family, protocol: self == .multipath ? 262 : 0)
    }
}

/// What a new channel is set up with, before it is registered.
struct ChannelSetUp: Sendable {
    typealias Initializer = @Sendable (any NIOCore.Channel) -> EventLoopFuture<Void>

    /// The initializer of those who ask for the channel alone.
    static let nothingMore: Initializer = { $0.eventLoop.makeSucceededVoidFuture() }

    var options = ChannelOptions.Storage()
    /// To connect from.
    var localAddress: NIOCore.SocketAddress?
    var initializer: Initializer?

    /// Applies the options, binds, then calls the initializer: an option may be what binding needs, and no handler is there yet
    /// that would be asked to bind. Loop thread.
    func apply(to channel: any NIOCore.Channel) -> EventLoopFuture<Void> {
        let initialize = initializer ?? Self.nothingMore
        return options.applyAllChannelOptions(to: channel).flatMap {
            guard let localAddress else { return initialize(channel) }
            return channel.bind(to: localAddress).flatMap { initialize(channel) }
        }
    }
}

extension RingChannel {
    /// Runs `body` on the channel's loop; if it fails, the channel is closed.
    func onLoop<Output: Sendable>(
        _ body: @escaping @Sendable () -> EventLoopFuture<Output>
    ) -> EventLoopFuture<Output> {
        let run: @Sendable () -> EventLoopFuture<Output> = { self.closingOnFailure(body()) }
        return loop.inEventLoop ? run() : loop.flatSubmit(run)
    }

    /// Closes the channel if `future`, which is its loop's, fails.
    func closingOnFailure<Output: Sendable>(_ future: EventLoopFuture<Output>) -> EventLoopFuture<Output> {
        future.flatMapError { error in
            self.close0(error: error, mode: .all, promise: nil)
            return self.loop.makeFailedFuture(error)
        }
    }

    /// Registers, and does `body` in the same turn.
    func register<Output: Sendable>(
        then body: @escaping @Sendable () -> EventLoopFuture<Output>
    ) -> EventLoopFuture<Output> {
        register().assumeIsolated().flatMap { body() }.nonisolated()
    }

    /// Registers a socket that is connected or bound already.
    func registerConfigured() -> EventLoopFuture<Void> {
        let promise = loop.makePromise(of: Void.self)
        registerAlreadyConfigured0(promise: promise)
        return promise.futureResult
    }
}
