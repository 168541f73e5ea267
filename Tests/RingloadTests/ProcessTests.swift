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
        process.signal(SIGINT)
        #expect(try process.exitCode() == 1)
        let output = try process.output()
        #expect(
            output.contains("interrupted before its end\nnothing was measured") && !output.contains("never answered"))
        try server.join()
    }

    @Test("exit codes: 1 when it failed, 64 for a wrong option, 71 for a file that cannot be written")
    func exitCodes() throws {
        let nobody = "\(try FaultyServer.nobody())"
        #expect(try RingloadProcess("closed", nobody, "--seconds", "0.1").exitCode() == 1)
        let usage = try RingloadProcess("closed", nobody, "--depth", "0")
        #expect(try usage.exitCode() == 64)
        #expect(try usage.errors() == "ringload: --depth 0: write a number from 1 to 1024\n")
        #expect(try RingloadProcess("closed", nobody, "--loop", "kqueue").exitCode() == 64)
        let system = try RingloadProcess("closed", nobody, "--json", "/nowhere/x")
        #expect(try system.exitCode() == 71)
        #expect(try system.errors().contains("cannot write /nowhere/x"))
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
