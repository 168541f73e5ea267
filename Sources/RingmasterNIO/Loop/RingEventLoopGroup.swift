import Dispatch
import NIOCore
import Synchronization
import Transport

/// SwiftNIO's group of event loops, on loops of Transport: each has a thread of its own, and a ring or an epoll instance.
///
/// All members may be used from any thread. Shut it down when it is not needed any more; the loops and their threads
/// stay until then, even if nobody refers to the group.
public final class RingEventLoopGroup: NIOCore.EventLoopGroup, Sendable {
    private enum Life {
        case running
        case ending([@Sendable () -> Void])
        case ended
    }

    /// The loops, in the order in which ``next()`` has them.
    public let loops: [RingEventLoop]
    private let core: CoreLoopGroup
    private let turn = Atomic<Int>(0)
    private let life = Mutex(Life.running)
    /// Loops that may have channels.
    private let openLoops: Atomic<Int>
    private let isSingleton: Bool

    /// A group of `count` loops, on io_uring where that can be had and else on epoll, or as `transport` says.
    ///
    /// - Throws: `UringUnavailability`, when io_uring is demanded and cannot be had; `SystemError` when the loops or
    ///   their threads cannot be made.
    public convenience init(
        numberOfThreads count: Int = System.coreCount, transport: TransportPreference = .auto
    ) throws {
        try self.init(numberOfThreads: count, configuration: transport.decide(loops: count).configuration)
    }

    /// A group of `count` loops of a configuration. Its bound on tasks says nothing here: SwiftNIO has none.
    ///
    /// - Throws: when the loops or their threads cannot be made.
    public convenience init(
        numberOfThreads count: Int, configuration: EventLoopConfiguration, name: String = "nio"
    ) throws(SystemError) {
        try self.init(numberOfThreads: count, configuration: configuration, name: name, isSingleton: false)
    }

    private init(
        numberOfThreads count: Int, configuration: EventLoopConfiguration, name: String, isSingleton: Bool
    ) throws(SystemError) {
        precondition(count >= 1, "a group has a loop or more")
        core = try CoreLoopGroup(count: count, configuration: configuration, name: name)
        loops = core.loops.map { remote in
            let loop = RingEventLoop(remote, isOfGroup: true)
            // Nobody else knows the loop yet: its first task.
            remote.execute { loop.bind($0) }
            return loop
        }
        openLoops = Atomic(count)
        self.isSingleton = isSingleton
        // Until then it keeps the group, which keeps the loops.
        core.whenTerminated { [self] _ in ended() }
    }

    /// One group for the whole process, of as many loops as there are cores, which is never shut down.
    public static let singleton: RingEventLoopGroup = {
        do {
            let configuration = try TransportPreference.auto.decide(loops: System.coreCount).configuration
            return try RingEventLoopGroup(
                numberOfThreads: System.coreCount, configuration: configuration, name: "nio", isSingleton: true)
        } catch {
            preconditionFailure("no event loops can be made: \(error)")
        }
    }()

    /// The loops in turn.
    public func next() -> any NIOCore.EventLoop { nextLoop() }

    func nextLoop() -> RingEventLoop {
        let number = turn.wrappingAdd(1, ordering: .relaxed).oldValue
        return loops[Int(UInt(bitPattern: number) % UInt(loops.count))]
    }

    /// The calling thread's loop if it is one of these, else the next.
    public func any() -> any NIOCore.EventLoop {
        if let current = RingEventLoop.current, loops.contains(where: { $0 === current }) { return current }
        return nextLoop()
    }

    /// The loops.
    public func makeIterator() -> EventLoopIterator { EventLoopIterator(loops) }

    /// As ``RingEventLoop/_preconditionSafeToSyncShutdown(file:line:)``, for the loops of every group.
    public func _preconditionSafeToSyncShutdown(file: StaticString, line: UInt) {
        precondition(
            RingEventLoop.current == nil, "an event loop cannot wait for the end of a group", file: file, line: line)
    }

    /// Closes every channel, runs what is queued, tells what is scheduled that it will not be, and ends the threads; then calls
    /// `callback` on `queue`. Calls after the first wait for the same end. The ``singleton`` refuses.
    public func shutdownGracefully(queue: DispatchQueue, _ callback: @escaping @Sendable ((any Error)?) -> Void) {
        shutdownGracefully(patience: LoopShutdown.patience, queue: queue, callback)
    }

    /// - Parameter patience: as of ``RingEventLoop/closeChannels(patience:then:)``.
    func shutdownGracefully(
        patience: TimeAmount, queue: DispatchQueue, _ callback: @escaping @Sendable ((any Error)?) -> Void
    ) {
        if isSingleton {
            return queue.async { callback(EventLoopError.unsupportedOperation) }
        }
        let told: @Sendable () -> Void = {
            queue.async {
                // Their loops have returned: nothing to speak of is waited for.
                self.core.join()
                callback(nil)
            }
        }
        let former = life.withLock { life -> Life in
            defer {
                switch life {
                case .running: life = .ending([told])
                case .ending(let others): life = .ending(others + [told])
                case .ended: break
                }
            }
            return life
        }
        switch former {
        case .running: closeChannels(patience)
        case .ending: break
        case .ended: told()
        }
    }

    private func closeChannels(_ patience: TimeAmount) {
        for loop in loops {
            let isTaken = loop.tasks.offer(
                .function { loop.closeChannels(patience: patience) { self.channelsClosed() } })
            // The loop below has failed.
            if !isTaken { channelsClosed() }
        }
    }

    /// One loop more has closed its channels. None ends before all have: connections come from one to be served by another.
    private func channelsClosed() {
        guard openLoops.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 else { return }
        for loop in loops {
            _ = loop.tasks.offer(.function { loop.finish { loop.remote.stop() } })
        }
    }

    private func ended() {
        let callbacks = life.withLock { life -> [@Sendable () -> Void] in
            defer { life = .ended }
            if case .ending(let callbacks) = life { return callbacks } else { return [] }
        }
        for callback in callbacks { callback() }
    }
}
