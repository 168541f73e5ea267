import CSocket
import Glibc
import Testing

@Suite("a worker that is aborted")
struct BacktraceTests {
    @Test("says the signal and where it was on standard error, and dies of the signal")
    func abort() async throws {
        let result = try await #require(
            processExitsWith: .signal(SIGABRT), observing: [\.standardErrorContent]
        ) {
            precondition(csocket_backtrace_on_abort() == 0)
            kill(getpid(), SIGABRT)
            pause()
        }
        let said = String(decoding: result.standardErrorContent, as: UTF8.self)
        let lines = said.split(separator: "\n")
        let begin = try #require(lines.firstIndex(of: "SIGABRT at:"), "\(said)")
        let frames = lines[(begin + 1)...]
        #expect(frames.count >= 2 && frames.allSatisfy { $0.hasSuffix("]") && $0.contains("[0x") }, "\(said)")
    }
}
