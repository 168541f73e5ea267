import Dispatch
import Glibc
import NIOCore
import Synchronization
import Transport

/// What the stream channels of a loop have passed.
struct LoopTraffic: BitwiseCopyable {
    var received: UInt64 = 0
    var sent: UInt64 = 0
}

/// SwiftNIO's event loop, on a loop of Transport: on io_uring or on epoll, with one thread of its own.
///
/// Loops come from a ``RingEventLoopGroup``, or are put on a loop that exists, as in a worker: ``init(on:)``. It is a serial
/// executor, for actors, and has a ``taskExecutor``. All that SwiftNIO's protocol says may be called from any thread.
///
/// Unchecked: what changes is behind a lock, atomic, or touched on the loop's thread only.
public final class RingEventLoop: NIOCore.EventLoop, NIOSerialEventLoopExecutor, @unchecked Sendable {
    let tasks: LoopTasks
    /// Runs asynchronous code on this loop's thread.
    public let taskExecutor: RingTaskExecutor
    let scheduledCount = Atomic<UInt64>(0)
    /// It ends with its group, and not by itself.
    let isOfGroup: Bool
    /// Bytes of all stream channels so far. Loop thread; behind a pointer, where no exclusivity check is made.
    let traffic: UnsafeMutablePointer<LoopTraffic>

    // Loop thread only.
    private var boundCore: CoreLoop?
    private var succeeded: EventLoopFuture<Void>?
    private var readTask: () -> Void = {}
    private var readers: [RingChannel] = []
    /// Empty but while ``finishReads()`` runs: kept for its room.
    private var finishing: [RingChannel] = []
    var scheduled: [UInt64: ScheduledWork] = [:]
    private(set) var channels: [ObjectIdentifier: RingChannel] = [:]
    var shutdown = LoopShutdown.running

    /// On a loop that exists and is not running yet. Call it on the thread that is going to run it, which keeps it from then on:
    /// until ``shutdownGracefully(queue:_:)``, or until the loop below ends. That ends this one too, without asking the handlers
    /// of its channels to wait for anything.
    public convenience init(on loop: Transport.EventLoop) {
        self.init(loop.remote, isOfGroup: false)
        bind(loop)
    }

    /// On the loop of another thread, before anybody else has given it a task.
    init(_ remote: CoreLoopRemote, isOfGroup: Bool) {
        self.isOfGroup = isOfGroup
        tasks = LoopTasks(remote)
        taskExecutor = RingTaskExecutor(tasks)
        traffic = .allocate(capacity: 1)
        traffic.initialize(to: LoopTraffic())
        readTask = { [unowned self] in finishReads() }
    }

    deinit {
        // Else the loop below has ended without it.
        if !hasClosed { tasks.abandon() }
        traffic.deallocate()
    }

    /// The calling thread is the loop's, or is going to be.
    func bind(_ loop: CoreLoop) {
        boundCore = loop
        Self.setCurrent(self)
        tasks.bind(loop, running: asUnownedSerialExecutor(), taskExecutor.asUnownedTaskExecutor())
        loop.whenEnding(stopping: { [weak self] in self?.belowStops() }, ended: { [weak self] in self?.belowEnded() })
    }

    var remote: CoreLoopRemote { tasks.remote }

    /// Whether it has shut down, or was never bound. Loop thread.
    var hasClosed: Bool { boundCore == nil }

    /// The loop below. Loop thread, until the loop has ended.
    var core: CoreLoop {
        guard let boundCore else { preconditionFailure("an event loop is used after its shutdown") }
        return boundCore
    }

    // MARK: The loop's thread

    /// Whether the caller is on the loop's thread. Any thread; exact.
    public var inEventLoop: Bool { remote.isCurrent }

    /// A thread keeps its loop. One that ends lets go of it.
    private static let currentKey: pthread_key_t = {
        var key = pthread_key_t()
        let code = pthread_key_create(&key) { loop in
            if let loop { Unmanaged<RingEventLoop>.fromOpaque(loop).release() }
        }
        precondition(code == 0, "no thread-specific key: \(code)")
        return key
    }()

    /// The loop of the calling thread, if it has one.
    public static var current: RingEventLoop? {
        pthread_getspecific(currentKey).map { Unmanaged.fromOpaque($0).takeUnretainedValue() }
    }

    private static func setCurrent(_ loop: RingEventLoop?) {
        let former = pthread_getspecific(currentKey)
        let code = pthread_setspecific(currentKey, loop.map { Unmanaged.passRetained($0).toOpaque() })
        precondition(code == 0, "no memory for the thread's loop: \(code)")
        if let former { Unmanaged<RingEventLoop>.fromOpaque(former).release() }
    }

    /// Waiting on a loop's thread, of this loop or another, would hold up that loop: refused.
    public func _preconditionSafeToWait(file: StaticString, line: UInt) {
        precondition(
            Self.current == nil && !inEventLoop,
            "wait() on an event loop's thread would hold up its connections, and might never end", file: file,
            line: line)
    }

    /// As ``_preconditionSafeToWait(file:line:)``.
    public func _preconditionSafeToSyncShutdown(file: StaticString, line: UInt) {
        precondition(
            Self.current == nil && !inEventLoop, "an event loop cannot wait for its own end", file: file, line: line)
    }

    // MARK: Tasks

    /// Runs `task` on the loop's thread, behind all that was queued before, and never from within this call.
    public func execute(_ task: @escaping @Sendable () -> Void) {
        tasks.add(.function(task))
    }

    /// As ``execute(_:)``, for what may only run on this loop. Loop thread.
    public func _executeIsolatedUnsafeUnchecked(_ task: @escaping () -> Void) {
        tasks.add(.function(task))
    }

    /// As `submit`, for what may only run on this loop. Loop thread.
    public func _submitIsolatedUnsafeUnchecked<T>(_ task: @escaping () throws -> T) -> EventLoopFuture<T> {
        let promise = makePromise(of: T.self)
        tasks.add(
            .function {
                do {
                    promise.assumeIsolatedUnsafeUnchecked().succeed(try task())
                } catch {
                    promise.fail(error)
                }
            })
        return promise.futureResult
    }

    /// Queues a job of an actor whose executor this is.
    public func enqueue(_ job: consuming ExecutorJob) {
        tasks.add(.actorJob(UnownedJob(job)))
    }

    /// One future for all who ask on the loop.
    public func makeSucceededVoidFuture() -> EventLoopFuture<Void> {
        if inEventLoop, let succeeded { return succeeded }
        let promise = makePromise(of: Void.self)
        promise.succeed(())
        if inEventLoop, !hasClosed { succeeded = promise.futureResult }
        return promise.futureResult
    }

    // MARK: Channels

    /// The channel has read something, or is to be given what it parked: it is called behind the completions of this turn,
    /// or of the next.
    func readLater(_ channel: RingChannel) {
        if readers.isEmpty { core.executeAfterCompletions(readTask) }
        readers.append(channel)
    }

    private func finishReads() {
        swap(&readers, &finishing)
        for channel in finishing { channel.finishRead() }
        finishing.removeAll(keepingCapacity: true)
    }

    func register(_ channel: RingChannel) {
        channels[ObjectIdentifier(channel)] = channel
    }

    func deregister(_ channel: RingChannel) {
        channels[ObjectIdentifier(channel)] = nil
        if channels.isEmpty { channelsEnded() }
    }

    // MARK: The end

    /// Runs what is left until nothing is left, then takes nothing any more. Returns false when there is always more.
    func close() -> Bool {
        guard !hasClosed else { return true }
        for _ in 0..<LoopShutdown.roundsMax {
            if !failScheduled(EventLoopError.shutdown), tasks.close() {
                letGo()
                return true
            }
        }
        return false
    }

    /// As ``close()``, but where there is always more it is dropped.
    func closeAnyway() {
        if close() { return }
        tasks.abandon()
        scheduled = [:]
        letGo()
    }

    /// The cycles of references end here.
    private func letGo() {
        succeeded = nil
        boundCore = nil
        if Self.current === self { Self.setCurrent(nil) }
    }
}
