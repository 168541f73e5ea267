import Foundation
import Handoff
import Testing

@testable import Supervisor
@testable import Transport
@testable import TransportTesting

/// A program file that a test has written, in a directory of its own.
private final class Script {
    private let directory = "/tmp/ringmaster-check-\(UUID().uuidString.prefix(8))"
    var path: String { file("program") }

    init(_ lines: String, mode: mode_t = 0o755) throws {
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: false)
        // Not written by this process: a child that another test forks meanwhile would have the file open for writing, and
        // nobody could execute it (ETXTBSY).
        let writer = Process()
        writer.executableURL = URL(filePath: "/bin/sh")
        writer.arguments = ["-c", "printf '#!/bin/sh\n%s\n' \"$2\" > \"$1\"", "sh", path, lines]
        try writer.run()
        writer.waitUntilExit()
        try #require(writer.terminationStatus == 0)
        chmod(path, mode)
    }

    deinit { try? FileManager.default.removeItem(atPath: directory) }

    func file(_ name: String) -> String { "\(directory)/\(name)" }

    /// Has it checked; returns the sentence that is wrong, or nil.
    func check(timeout: Duration = .seconds(20), environment: [String] = ["PATH=/usr/bin:/bin"]) throws -> String? {
        let thread = try LoopThread(TransportMode.usual)
        let verdict = Recorder<String?>()
        let holder = Holder()
        let path = path
        let launcher = WorkerLauncher(arguments: ["ringmaster", "echo"], environment: environment)
        try thread.on { loop in
            do {
                let image = try SealedMemory.make(Array("the image".utf8), name: "test")
                defer { close(image) }
                holder.check = try ProgramCheck(
                    loop, launcher, name: "ringmaster", path: path, image: image, timeout: timeout,
                    ended: { holder.reap() }, finished: { verdict.record($0) })
            } catch {
                verdict.record("not started: \(error)")
            }
        }
        let result = try verdict.next(within: 30)
        try thread.on { _ in holder.check = nil }
        try thread.join()
        return result
    }

    private final class Holder: Sendable {
        // Safe: touched on the loop's thread only.
        nonisolated(unsafe) var check: ProgramCheck?

        func reap() {
            var status: Int32 = 0
            guard let check, waitpid(check.pid, &status, WNOHANG) == check.pid else { return }
            check.reaped(ExitStatus(waitStatus: status))
        }
    }
}

@Suite("check of a new program")
struct ProgramCheckTests {
    private static let consent = "printf '\(ProgramCheck.consent(of: "ringmaster"))'"

    @Test("a program that says that it can go on is good; it finds the image, the command line and the question")
    func good() throws {
        let script = try Script(
            """
            [ "$RINGMASTER_INTERNAL_CHECK" = 1 ] && [ "$(cat /dev/fd/3)" = "the image" ] && [ "$1" = echo ] || exit 1
            \(Self.consent)
            """)
        #expect(try script.check() == nil)
    }

    @Test(
        "one that ends well and says nothing, or something else, or another name, is not the program",
        arguments: ["true", "echo hello", "printf '\(ProgramCheck.consent(of: "other"))'"])
    func silent(lines: String) throws {
        #expect(try Script(lines).check()?.contains("did not say") == true)
    }

    @Test("one that fails is told with its exit code and its last line")
    func fails() throws {
        let problem = try Script("\(Self.consent); echo first >&2; echo 'no such option' >&2; exit 64").check()
        #expect(problem?.hasPrefix("its check ended with exit code 64: no such option (is /") == true)
        #expect(problem?.hasSuffix("another program than ringmaster?)") == true)
        #expect(try Script("exit 3").check()?.hasPrefix("its check ended with exit code 3: no reason given") == true)
    }

    @Test("one that gives its reason under the program's name is no other program")
    func refuses() throws {
        let problem = try Script("echo 'ringmaster: f.yaml:1: no' >&2; exit 2").check()
        #expect(problem == "its check ended with exit code 2: ringmaster: f.yaml:1: no")
    }

    @Test("one that is killed is told with the signal")
    func killed() throws {
        #expect(try Script("\(Self.consent); kill -SEGV $$").check()?.contains("signal 11") == true)
    }

    @Test("one that takes too long is ended, with what it has started")
    func tooLong() throws {
        let script = try Script("sleep 1000 & echo $! > \"$0.child\"; wait")
        #expect(try script.check(timeout: .milliseconds(300))?.contains("more than 0.3 seconds") == true)
        let text = try String(contentsOfFile: script.file("program.child"), encoding: .utf8)
        let child = try #require(pid_t(text.trimmingCharacters(in: .whitespacesAndNewlines)))
        try eventually("\(child) to end") {
            let stat = (try? String(contentsOfFile: "/proc/\(child)/stat", encoding: .utf8)) ?? ") Z"
            return stat.contains(") Z")
        }
    }

    @Test("one that cannot be executed is not started")
    func notExecutable() throws {
        #expect(try Script(Self.consent, mode: 0o644).check()?.hasPrefix("not started") == true)
    }

    @Test("it has nothing of our standard input, and our standard output has nothing of it")
    func standardStreams() throws {
        // It would wait for ever for a terminal's input, or take it.
        #expect(try Script("[ -z \"$(cat)\" ] || exit 1; \(Self.consent)").check() == nil)
    }

    @Test("a file that is replaced while it is checked is not the one that was checked")
    func replaced() throws {
        let script = try Script("cp \"$0\" \"$0.new\"; mv \"$0.new\" \"$0\"; \(Self.consent)")
        #expect(try script.check()?.contains("was replaced") == true)
    }
}
