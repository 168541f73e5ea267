import Foundation
import Testing
import Transport

@testable import TransportTesting

@Suite(
    "the program",
    .enabled(
        if: FileManager.default.isExecutableFile(atPath: RingloadProcess.binary), "ringload is not beside the tests"))
struct ProcessTests {
    @Test("what was measured is on standard output, as text and as JSON in a file", arguments: ["-", "file"])
    func results(place: String) throws {
        let server = try FaultyServer(.echo)
        let file = FileManager.default.temporaryDirectory.appending(path: "ringload-\(UUID()).json").path
        defer { try? FileManager.default.removeItem(atPath: file) }
        let process = try RingloadProcess(
            "closed", "\(server.address)", "--connections", "5", "--seconds", "0.2", "--json", place == "-" ? "-" : file
        )
        #expect(try process.exitCode() == 0)
        let output = try process.output()
        let text = place == "-" ? output : try String(contentsOfFile: file, encoding: .utf8)
        let json = try #require(JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
        #expect(json["opened"] as? Int == 5 && json["exitCode"] as? Int == 0)
        #expect(try (place == "-" ? process.errors() : output).contains("5 opened"))
        try server.join()
    }

    @Test("SIGINT ends it early, with the result so far")
    func interrupted() throws {
        let server = try FaultyServer(.echo)
        let process = try RingloadProcess(
            "closed", "\(server.address)", "--seconds", "600", "--progress", "0.1", "--json", "-")
        try process.waitForError("messages/s")
        process.signal(SIGINT)
        #expect(try process.exitCode() == 0)
        let json = try #require(
            JSONSerialization.jsonObject(with: Data(try process.output().utf8)) as? [String: Any])
        #expect(json["interrupted"] as? Bool == true && json["messages"] as? Int ?? 0 > 0)
        try server.join()
    }

    @Test("a second SIGINT ends it at once, without a result")
    func interruptedTwice() throws {
        let server = try FaultyServer(.stall)
        let process = try RingloadProcess("closed", "\(server.address)", "--seconds", "600", "--progress", "0.1")
        try process.waitForError("measuring from")
        process.signal(SIGINT)
        try process.waitForError("a second signal ends at once")
        process.signal(SIGINT)
        #expect(try process.exitCode() == 1)
        #expect(try process.output() == "")
        #expect(
            try process.errors().hasSuffix(
                "ended without a result; send one signal only, and wait up to 5 s, to have it\n"))
        try server.join()
    }

    @Test(
        "one that is interrupted while it warms up has measured nothing, and sends nothing more",
        arguments: ["closed", "open"])
    func interruptedEarly(command: String) throws {
        let server = try FaultyServer(.echo)
        let rate = command == "open" ? ["--rate", "1000"] : []
        let process = try RingloadProcess(
            [command, "\(server.address)", "--warmup", "600", "--progress", "0.1"] + rate)
        try process.waitForError("warming up: 1 connections")
        if command == "closed" {
            try eventually(within: 20, "a count of the warm-up") {
                try process.errors().contains(/, [1-9][0-9]* messages so far, which will not count/)
            }
        }
        process.signal(SIGINT)
        #expect(try process.exitCode() == 1)
        let output = try process.output()
        #expect(
            output.contains(
                "interrupted before its end\nfailed       nothing was measured: it was interrupted before the measured phase began: let"
            )
                && !output.contains("never answered"))
        try server.join()
    }

    @Test("a file that cannot be written is told before the run begins, with what to do")
    func unwritable() throws {
        let directory = FileManager.default.temporaryDirectory.path
        // No connection is made: the run would say that it was.
        let server = try FaultyServer(.echo)
        for (path, reason) in [
            ("/nowhere/x", "No such file or directory: make its directory first, or name another file"),
            (directory, "Is a directory: name a file in that directory"),
            ("/proc/version/x", "Not a directory: name a file that this user can write"),
        ] {
            let process = try RingloadProcess(
                "closed", "\(server.address)", "--progress", "0.1", "--seconds", "60", "--json", path)
            #expect(try process.exitCode() == 64)
            #expect(try process.errors() == "ringload: --json \(path): cannot write it: \(reason)\n")
        }
        try server.join()
    }

    @Test("a file that cannot be written when the result is there: exit code 71, and the result is told")
    func fullDisk() throws {
        let server = try FaultyServer(.echo)
        let process = try RingloadProcess("closed", "\(server.address)", "--seconds", "0.1", "--json", "/dev/full")
        #expect(try process.exitCode() == 71)
        #expect(try process.errors().contains("--json /dev/full: cannot write it: No space left on device: make room"))
        #expect(try process.output().contains("1 opened"))
        try server.join()
    }

    @Test("a number below 0 is told as out of range")
    func negative() throws {
        let process = try RingloadProcess("idle", "127.0.0.1:7000", "--connections", "-5")
        #expect(try process.exitCode() == 64)
        #expect(try process.errors() == "ringload: --connections -5: write a number from 1 to 100000\n")
    }

    @Test("exit codes: 1 when it failed, 64 for a wrong option")
    func exitCodes() throws {
        let nobody = "\(try FaultyServer.nobody())"
        let failed = try RingloadProcess("closed", nobody, "--seconds", "0.1")
        #expect(try failed.exitCode() == 1)
        #expect(try failed.output().contains("failed       nothing was measured: no connection was made"))
        let usage = try RingloadProcess("closed", nobody, "--depth", "0")
        #expect(try usage.exitCode() == 64)
        #expect(try usage.errors() == "ringload: --depth 0: write a number from 1 to 1024\n")
        #expect(try RingloadProcess("closed", nobody, "--loop", "kqueue").exitCode() == 64)
        #expect(try RingloadProcess("--help").exitCode() == 0)
    }
}

/// A run of the built `ringload`. What it writes goes to files, which no reader can hold up.
private final class RingloadProcess {
    static let binary: String = {
        let bundle = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
        return URL(filePath: bundle).deletingLastPathComponent().appending(path: "ringload").path
    }()

    private let process = Process()
    private let directory: URL

    convenience init(_ arguments: String...) throws { try self.init(arguments) }

    init(_ arguments: [String]) throws {
        directory = FileManager.default.temporaryDirectory.appending(path: "ringload-\(UUID())")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: false)
        process.executableURL = URL(filePath: Self.binary)
        // Rings of other tests may have all the memory that this user can lock.
        let isLoad = arguments.contains { $0.contains(":") } && !arguments.contains("--loop")
        process.arguments = arguments + (isLoad ? ["--loop", "epoll"] : [])
        for name in ["output", "errors"] { try Data().write(to: directory.appending(path: name)) }
        process.standardOutput = try FileHandle(forWritingTo: directory.appending(path: "output"))
        process.standardError = try FileHandle(forWritingTo: directory.appending(path: "errors"))
        try process.run()
    }

    deinit {
        if process.isRunning { kill(process.processIdentifier, SIGKILL) }
        try? FileManager.default.removeItem(at: directory)
    }

    func signal(_ number: Int32) { kill(process.processIdentifier, number) }

    func output() throws -> String { try String(contentsOf: directory.appending(path: "output"), encoding: .utf8) }
    func errors() throws -> String { try String(contentsOf: directory.appending(path: "errors"), encoding: .utf8) }

    func waitForError(_ text: String) throws {
        try eventually(within: 20, "\(text) on standard error") { try errors().contains(text) }
    }

    /// Waits for the end.
    func exitCode() throws -> Int32 {
        try eventually(within: 30, "the end of ringload") { !process.isRunning }
        return process.terminationReason == .exit ? process.terminationStatus : -1
    }
}
