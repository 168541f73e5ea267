import Foundation
import Testing

@testable import Supervisor
@testable import Transport
@testable import TransportTesting

/// A pipe on a loop, and the end that a worker would write to.
private final class Speaker: Sendable {
    let thread: LoopThread
    private let writing: Int32
    // Safe: touched on the loop's thread only.
    private nonisolated(unsafe) var errors: WorkerErrorPipe?

    init(passingOnTo target: Int32? = nil) throws {
        // As the supervisor does.
        signal(SIGPIPE, SIG_IGN)
        thread = try LoopThread(TransportMode.usual)
        let ends = try WorkerErrorPipe.pipe()
        writing = ends.writing
        try thread.on { self.errors = WorkerErrorPipe($0, owning: ends.reading, passingOnTo: target) }
    }

    /// Writes all of it, as a worker does: it waits for room.
    func say(_ text: String) {
        let bytes = Array(text.utf8)
        var sent = 0
        while sent < bytes.count {
            let count = bytes[sent...].withUnsafeBytes { write(writing, $0.baseAddress, $0.count) }
            guard count > 0 else { return }
            sent += count
        }
    }

    var text: String { get throws { try thread.on { _ in self.errors?.text ?? "" } } }

    /// The worker is dead.
    func finish() throws -> String {
        try thread.on { _ in
            self.errors?.finish()
            return self.errors?.text ?? ""
        }
    }

    func join() throws {
        close(writing)
        try thread.on { _ in
            self.errors?.finish()
            self.errors = nil
        }
        try thread.join()
    }
}

@Suite("a worker's standard error")
struct WorkerErrorPipeTests {
    @Test("what is short is kept as it is")
    func short() throws {
        let speaker = try Speaker()
        speaker.say("cannot go on\n")
        speaker.say("because of that\n")
        #expect(try speaker.finish() == "cannot go on\nbecause of that")
        try speaker.join()
    }

    @Test("of what is long, the first KiB and the last KiB are kept, and how much is missing is said")
    func long() throws {
        let speaker = try Speaker()
        let text = (0..<10_000).map { "line \($0)\n" }.joined()
        speaker.say(text)
        let kept = try speaker.finish()
        let missing = text.utf8.count - 2_048
        #expect(kept.contains("\n[\(missing) bytes left out]\n"))
        let parts = kept.components(separatedBy: "\n[\(missing) bytes left out]\n")
        try #require(parts.count == 2)
        #expect(parts[0] == String(text.prefix(1_024)).trimmingCharacters(in: .newlines))
        #expect(parts[1] == String(text.suffix(1_024)).trimmingCharacters(in: .newlines))
        try speaker.join()
    }

    @Test("2 KiB are kept whole")
    func limit() throws {
        let speaker = try Speaker()
        let text = String(repeating: "abcdefg ", count: 256)
        speaker.say(text)
        #expect(try speaker.finish() == text)
        try speaker.join()
    }

    @Test("what does not print becomes a space, and empty lines go")
    func controlCharacters() throws {
        let speaker = try Speaker()
        speaker.say("\u{1b}[31mred\u{1b}[0m\u{7}\n\n\r\nand\ttab \u{0}nul")
        #expect(try speaker.finish() == " [31mred [0m \nand tab  nul")
        try speaker.join()
    }

    @Test("what comes is passed on at once and unchanged")
    func passesOn() throws {
        var ends: [Int32] = [-1, -1]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        let listener = Peer(fd: ends[0])
        defer { close(ends[1]) }
        let speaker = try Speaker(passingOnTo: ends[1])
        speaker.say("\u{1b}first\n")
        #expect(try listener.receive() == Array("\u{1b}first\n".utf8))
        #expect(try speaker.text == " first")
        try speaker.join()
    }

    @Test("a worker that writes without end keeps neither the loop nor its own burial waiting")
    func flood() throws {
        let speaker = try Speaker()
        let end = Recorder<Bool>()
        let isOver = Recorder<Bool>()
        Thread.detachNewThread {
            let line = String(repeating: "x", count: 4_095) + "\n"
            while isOver.all.isEmpty { speaker.say(line) }
            end.record(true)
        }
        try eventually("the flood to begin") { try speaker.text.utf8.count > 2_000 }
        // The loop goes round between two reads of the flood.
        for _ in 0..<100 { try speaker.thread.on { _ in } }
        isOver.record(true)
        _ = try end.next()
        // Burial: processes that the worker has left behind write on while the rest is read.
        let ended = Recorder<Bool>()
        let isBuried = Recorder<Bool>()
        for _ in 0..<3 {
            Thread.detachNewThread {
                while isBuried.all.isEmpty { speaker.say(String(repeating: "y", count: 65_536)) }
                ended.record(true)
            }
        }
        _ = try speaker.finish()
        isBuried.record(true)
        // Writers that wait for room are woken by the end of the pipe.
        for _ in 0..<3 { _ = try ended.next() }
        try speaker.join()
    }
}
