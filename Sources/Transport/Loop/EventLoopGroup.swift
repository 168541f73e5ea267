import Glibc
import Synchronization

/// Loops of one configuration, each on a thread of its own, that are stopped together.
///
/// All members may be used from any thread. A group that is dropped stops its loops and does not wait for them.
public final class EventLoopGroup: Sendable {
    /// How a loop has ended: with so many channels left in flight (0 is the rule), or because its ring failed.
    public typealias End = Result<Int, SystemError>

    /// The loops, which are running when the group has been made.
    public let loops: [EventLoopRemote]
    private let chooser: any EventLoopChooser
    private let ends: GroupEnds
    /// Those not joined yet.
    private let threads: Mutex<[pthread_t]>

    /// Makes `count` loops and starts their threads, named `name-0`, `name-1` and so on (15 bytes at most; a longer
    /// name is cut).
    ///
    /// - Throws: as ``EventLoop/init(_:)``, or EAGAIN from pthread_create(3); then the loops made before have ended.
    public convenience init(
        count: Int, configuration: EventLoopConfiguration = .init(), name: String = "loop",
        chooser: any EventLoopChooser = RoundRobinChooser()
    ) throws(SystemError) {
        try self.init(
            count: count, name: name, chooser: chooser,
            make: { _ throws(SystemError) in try EventLoop(configuration) }, start: GroupThread.start)
    }

    init(
        count: Int, name: String, chooser: any EventLoopChooser, make: (Int) throws(SystemError) -> EventLoop,
        start: (GroupThread) throws(SystemError) -> pthread_t
    ) throws(SystemError) {
        precondition(count >= 1, "a group has a loop or more")
        // All are made before the first thread: if one fails there is nothing to stop.
        var made: [GroupThread] = []
        let ends = GroupEnds(count: count)
        for index in 0..<count {
            made.append(GroupThread(try make(index), index: index, name: name, ends: ends))
        }
        let loops = made.map(\.remote)
        var started: [pthread_t] = []
        do throws(SystemError) {
            for thread in made { started.append(try start(thread)) }
        } catch {
            for loop in loops { loop.stop() }
            for thread in started { pthread_join(thread, nil) }
            throw error
        }
        self.loops = loops
        self.chooser = chooser
        self.ends = ends
        threads = Mutex(started)
    }

    deinit {
        stop()
        threads.withLock { for thread in $0 { pthread_detach(thread) } }
    }

    /// The loop to use next, as the group's chooser has it.
    public func next() -> EventLoopRemote {
        let index = chooser.choose(loops)
        precondition(loops.indices.contains(index), "a chooser returns an index of the loops")
        return loops[index]
    }

    /// ``EventLoopRemote/stop()`` for all.
    public func stop() {
        for loop in loops { loop.stop() }
    }

    /// ``EventLoopRemote/shutdownGracefully(quietPeriod:timeout:)`` for all at once.
    public func shutdownGracefully(quietPeriod: Duration = .seconds(2), timeout: Duration = .seconds(15)) {
        for loop in loops { loop.shutdownGracefully(quietPeriod: quietPeriod, timeout: timeout) }
    }

    /// Waits until all threads have ended, which somebody must have asked them to. Not from a thread of the group.
    ///
    /// - Returns: the loops' ends, in the order of ``loops``.
    @discardableResult
    public func join() -> [End] {
        precondition(!loops.contains { $0.isCurrent }, "a loop cannot wait for its own end")
        // Whoever comes second waits for the lock, and then finds nothing to wait for.
        threads.withLock { threads in
            precondition(!threads.contains { pthread_equal($0, pthread_self()) != 0 }, "a thread cannot join itself")
            for thread in threads { pthread_join(thread, nil) }
            threads = []
        }
        return ends.all ?? []
    }

    /// Calls `action` once with the loops' ends, when the last has ended: on that loop's thread, or at once on the
    /// caller's if it has ended already.
    public func whenTerminated(_ action: @escaping @Sendable ([End]) -> Void) {
        ends.whenComplete(action)
    }
}
