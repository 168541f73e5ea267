import CRing
import Glibc
import Testing

@testable import Transport

/// A handler whose completions a test makes up: for orders of events that a real kernel produces rarely or only in
/// other versions. The loop runs on the test's own thread, one step of the script per turn.
final class ScriptedKernel: IOHandler {
    typealias Step = (ScriptedKernel) -> Void

    /// What has been submitted and has not been completed for good, in order.
    private(set) var inFlight: [Submission] = []
    /// What the loop has given, call by call: first the buffers that it begins with.
    private(set) var given: [(buffers: [UInt16], size: Int)] = []
    /// Buffers given after those that the loop began with.
    var returnedBuffers: [UInt16] { given.dropFirst().flatMap(\.buffers) }
    /// How the loop is made.
    var configuration = EventLoopConfiguration()
    let receiveBuffers: ReceiveBuffers
    let overflowCount: UInt64 = 0
    let shortageCount: UInt64 = 0
    private var steps: [Step] = []
    private var completions: [Completion] = []
    private let memory: UnsafeMutableRawPointer

    init(bufferCount: Int = 4, bufferSize: Int = 8) {
        memory = .allocate(byteCount: bufferCount * bufferSize, alignment: 16)
        receiveBuffers = ReceiveBuffers(base: memory, count: bufferCount, size: bufferSize)
    }

    deinit { memory.deallocate() }

    /// Runs a loop on this kernel: `setUp` as its first task, then each step in a turn of its own, then the stop.
    func run(setUp: @escaping (EventLoop) -> Void, steps: Step...) throws { try run(setUp: setUp, all: steps) }

    func run(setUp: @escaping (EventLoop) -> Void, all steps: [Step]) throws {
        let remote = try EventLoopRemote()
        let loop = EventLoop(handler: self, remote: remote, configuration: configuration)
        self.steps = [{ _ in setUp(loop) }] + steps + [{ _ in remote.stop() }]
        #expect(try loop.run() == 0)
        #expect(inFlight.isEmpty, "the loop ended with operations in flight")
    }

    /// The only operation of the kind in flight, or nil.
    func only(_ kind: OperationKind) -> Submission? {
        let found = inFlight.filter { $0.userData.kind == kind }
        return found.count == 1 ? found[0] : nil
    }

    /// How many operations of the kind are in flight.
    func count(_ kind: OperationKind) -> Int { inFlight.count { $0.userData.kind == kind } }

    /// Completes the operation of the kind, of which there must be one, in this turn's batch.
    func complete(
        _ kind: OperationKind, _ result: Int32, buffer: UInt16? = nil, more: Bool = false, notification: Bool = false
    ) {
        guard let submission = only(kind) else {
            Issue.record("\(count(kind)) operations of kind \(kind) in flight")
            return
        }
        complete(submission.userData, result, buffer: buffer, more: more, notification: notification)
    }

    func complete(
        _ userData: UserData, _ result: Int32, buffer: UInt16? = nil, more: Bool = false, notification: Bool = false,
        bufferMore: Bool = false
    ) {
        var flags: UInt32 = more ? UInt32(CRING_COMPLETION_MORE) : 0
        if notification { flags |= UInt32(CRING_COMPLETION_NOTIFICATION) }
        if bufferMore { flags |= UInt32(CRING_COMPLETION_BUFFER_MORE) }
        if let buffer { flags |= UInt32(CRING_COMPLETION_BUFFER) | UInt32(buffer) << 16 }
        completions.append(Completion(userData: userData, result: result, flags: flags))
        if !more { inFlight.removeAll { $0.userData == userData } }
    }

    /// Receives `bytes` for an operation at a place in a buffer of an incremental ring.
    func receive(_ bytes: [UInt8], for userData: UserData, buffer: UInt16, at offset: Int, bufferMore: Bool) {
        let start = memory + Int(buffer) * receiveBuffers.size + offset
        start.copyMemory(from: bytes, byteCount: bytes.count)
        complete(userData, Int32(bytes.count), buffer: buffer, more: true, bufferMore: bufferMore)
    }

    /// Receives `bytes` in a buffer.
    func receive(_ bytes: [UInt8], buffer: UInt16, more: Bool = true) {
        (memory + Int(buffer) * receiveBuffers.size).copyMemory(from: bytes, byteCount: bytes.count)
        complete(.receive, Int32(bytes.count), buffer: buffer, more: more)
    }

    func enable() {}

    func submit(_ submissions: UnsafeBufferPointer<Submission>) -> Int {
        for submission in submissions {
            #expect(!inFlight.contains { $0.userData == submission.userData }, "two operations with one name")
            inFlight.append(submission)
        }
        return submissions.count
    }

    func run(until deadline: MonotonicTime?, into batch: UnsafeMutableBufferPointer<Completion>) -> Int {
        if steps.isEmpty {
            // The loop is stopping: every cancellation finds its target.
            for submission in inFlight {
                if case .cancel(let target) = submission.operation {
                    if inFlight.contains(where: { $0.userData == target }) { complete(target, -ECANCELED) }
                    complete(submission.userData, 0)
                }
            }
        } else {
            steps.removeFirst()(self)
        }
        let count = completions.count
        for (index, completion) in completions.enumerated() { batch[index] = completion }
        completions = []
        return count
    }

    func handle(_ completion: Completion) {}

    func giveBuffers(_ ids: UnsafeBufferPointer<UInt16>, size: Int) {
        given.append((Array(ids), size))
    }

    func forget(_ id: RegistrationID) {}

    func destroy() {}
}
