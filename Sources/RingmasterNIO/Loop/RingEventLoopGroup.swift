import Dispatch
import NIOCore
import Synchronization
import Transport

/// SwiftNIO's group of event loops, on loops of Transport: each has a thread of its own, and a ring or an epoll instance.
///
/// All members may be used from any thread. Shut it down when it is not needed any more; the loops and their threads
/// stay until then.
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
    private let isSingleton: Bool

    /// How long a channel's handlers may keep it from closing when the group shuts down.
    public static let shutdownPatience: TimeAmount = .seconds(5)

    /// A group of `count` loops, on io_uring where that can be had and else on epoll, or as `transport` says.
    ///
    /// - Throws: `UringUnavailability`, when io_uring is demanded and cannot be had; `SystemError` when the loops or
    ///   their threads cannot be made.
    public convenience init(
        numberOfThreads count: Int = System.coreCount, transport: TransportPreference = .auto
    ) throws {
        try self.init(numberOfThreads: count, configuration: transport.decide(loops: count).configuration)
    }

    /// A group of `count` loops of a configuration, whose bound on tasks is taken off: SwiftNIO has none.
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
        var configuration = configuration
        configuration.tasks.countMax = .max
        core = try CoreLoopGroup(count: count, configuration: configuration, name: name)
        loops = core.loops.map { remote in
            let loop = RingEventLoop(remote)
            // Nobody else knows the loop yet: its first task.
            remote.execute { loop.bind($0) }
            return loop
        }
        self.isSingleton = isSingleton
    }

    /// One group for the whole process, of as many loops as there are cores, which is never shut down.
    public static let singleton: RingEventLoopGroup = {
        do {
            let configuration = try TransportPreference.auto.decide(loops: System.coreCount).configuration
            return try RingEventLoopGroup(
                numberOfThreads: System.coreCount, configuration: configuration, name: "nio", isSingleton: true)
        } catch {
            fatalError("no event loops can be made: \(error)")
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
        if isSingleton {
            return queue.async { callback(EventLoopError.unsupportedOperation) }
        }
        let told: @Sendable () -> Void = { queue.async { callback(nil) } }
        let isFirst = life.withLock { life -> Bool? in
            switch life {
            case .running:
                life = .ending([told])
                return true
            case .ending(let others):
                life = .ending(others + [told])
                return false
            case .ended:
                return nil
            }
        }
        guard let isFirst else { return told() }
        if isFirst { shutDown() }
    }

    private func shutDown() {
        core.whenTerminated { [self] _ in
            let callbacks = life.withLock { life -> [@Sendable () -> Void] in
                guard case .ending(let callbacks) = life else { return [] }
                life = .ended
                return callbacks
            }
            for callback in callbacks { callback() }
        }
        for loop in loops {
            loop.shutDown(patience: Self.shutdownPatience) { loop.remote.stop() }
        }
    }
}
