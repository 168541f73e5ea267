import Glibc
import Testing

@testable import Transport

@Suite("Event loop: its handler")
struct HandlerLifeTests {
    @Test("a loop gives its handler back once, whether it was run or not", arguments: [true, false])
    func handlerIsDestroyed(isRun: Bool) throws {
        let handler = IdleHandler()
        do {
            let loop = EventLoop(handler: handler, remote: try EventLoopRemote(), configuration: .init())
            loop.remote.stop()
            if isRun { try loop.run() }
        }
        #expect(handler.destroyed == 1)
    }

    @Test("a loop that has ended takes no channels: its handler is gone")
    func registeringTooLate() async {
        await #expect(processExitsWith: .failure) {
            let loop = EventLoop(handler: IdleHandler(), remote: try EventLoopRemote(), configuration: .init())
            loop.remote.stop()
            try loop.run()
            _ = ReadinessWatch(loop, fd: 0, ready: {})
            exit(EXIT_SUCCESS)
        }
    }

    /// Does nothing, and notes when it is destroyed.
    private final class IdleHandler: IOHandler {
        var destroyed = 0
        let receiveBuffers = ReceiveBuffers(base: UnsafeMutableRawPointer(bitPattern: 4096)!, count: 0, size: 0)
        let overflowCount: UInt64 = 0
        let shortageCount: UInt64 = 0

        func enable() {}
        func submit(_ submissions: UnsafeBufferPointer<Submission>) -> Int { submissions.count }
        func run(until deadline: MonotonicTime?, into batch: UnsafeMutableBufferPointer<Completion>) -> Int { 0 }
        func handle(_ completion: Completion) {}
        func giveBuffers(_ ids: UnsafeBufferPointer<UInt16>, size: Int) {}
        func forget(_ id: RegistrationID) {}
        func destroy() { destroyed += 1 }
    }
}
