import Testing

@testable import Transport
@testable import TransportTesting

/// A handler with a clock of its own and no kernel: a wait ends at once and moves the clock to its deadline, so that
/// a test knows every moment exactly. A loop that would sleep for ever is told to stop.
///
/// Unchecked Sendable, for tasks: the loop runs on the test's own thread, and there is no other.
final class VirtualHandler: IOHandler, @unchecked Sendable {
    static let start = MonotonicTime(nanoseconds: 1_000_000_000)

    var now = start
    /// What each run was to wait for; nil for one that was not to wait.
    private(set) var waits: [MonotonicTime?] = []
    /// Called in each run, with its number from 0.
    var onRun: (Int) -> Void = { _ in }
    /// What the next run completes.
    var completions: [Completion] = []
    private(set) var inFlight: [UserData] = []
    /// Cancellations find their target.
    var completesCancellations = true
    private(set) var destroyed = 0
    var overflowCount: UInt64 = 0
    var shortageCount: UInt64 = 0
    let receiveBuffers: ReceiveBuffers
    private let memory: UnsafeMutableRawPointer
    private var remote: EventLoopRemote?

    init() {
        memory = .allocate(byteCount: 64, alignment: 64)
        receiveBuffers = ReceiveBuffers(base: memory, count: 1, size: 64)
    }

    deinit { memory.deallocate() }

    /// A loop on this handler.
    func makeLoop(_ configuration: EventLoopConfiguration = .init()) throws -> EventLoop {
        let remote = try EventLoopRemote(tasks: configuration.tasks)
        self.remote = remote
        return EventLoop(handler: self, remote: remote, configuration: configuration)
    }

    /// Time since the beginning.
    var elapsed: Duration { now - Self.start }

    func advance(_ duration: Duration) { now = now + duration }

    func isInFlight(_ kind: OperationKind) -> Bool { inFlight.contains { $0.kind == kind } }

    func complete(_ kind: OperationKind, _ result: Int32) {
        guard let userData = inFlight.first(where: { $0.kind == kind }) else {
            Issue.record("no \(kind) in flight")
            return
        }
        end(userData, result)
    }

    private func end(_ userData: UserData, _ result: Int32) {
        inFlight.removeAll { $0 == userData }
        completions.append(Completion(userData: userData, result: result, flags: 0))
    }

    func enable() {}

    func submit(_ submissions: UnsafeBufferPointer<Submission>) -> Int {
        for submission in submissions {
            inFlight.append(submission.userData)
            guard case .cancel(let target) = submission.operation, completesCancellations else { continue }
            if inFlight.contains(target) { end(target, -125) }
            end(submission.userData, 0)
        }
        return submissions.count
    }

    func run(until deadline: MonotonicTime?, into batch: UnsafeMutableBufferPointer<Completion>) -> Int {
        waits.append(deadline)
        onRun(waits.count - 1)
        if completions.isEmpty, let deadline {
            if deadline == .distantFuture { remote?.stop() } else { now = max(now, deadline) }
        }
        for (index, completion) in completions.enumerated() { batch[index] = completion }
        defer { completions = [] }
        return completions.count
    }

    func handle(_ completion: Completion) {}

    func giveBuffers(_ ids: UnsafeBufferPointer<UInt16>, size: Int) {}

    func forget(_ id: RegistrationID) {}

    func destroy() { destroyed += 1 }
}

/// What happened, in order. Unchecked Sendable as ``VirtualHandler`` is.
final class Log<Value>: @unchecked Sendable {
    var values: [Value] = []
}
