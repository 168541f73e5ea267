import Foundation
import Testing
import Transport

@testable import Ringmaster

/// A control socket that answers each request with the same line, and keeps the requests.
private final class Answering: Sendable {
    let path = "/tmp/ringmaster-command-\(UUID().uuidString.prefix(8))"
    private let listener: Int32
    private let requests: FileHandle
    private let log: URL

    init(_ answer: String) throws {
        listener = try Socket.listen(.unix(path: path), backlog: 8)
        log = URL(filePath: path + ".log")
        try Data().write(to: log)
        requests = try FileHandle(forWritingTo: log)
        Thread.detachNewThread { [listener, requests] in
            while case let client = accept(listener, nil, nil), client >= 0 {
                var line = [UInt8](repeating: 0, count: 4096)
                let count = recv(client, &line, line.count, 0)
                requests.write(Data(line.prefix(max(0, count))))
                let bytes = Array((answer + "\n").utf8)
                send(client, bytes, bytes.count, Int32(MSG_NOSIGNAL))
                close(client)
            }
        }
    }

    /// What has been asked, one line each.
    var asked: String { (try? String(contentsOf: log, encoding: .utf8)) ?? "" }

    deinit {
        // Ends the thread's accept(2).
        shutdown(listener, Int32(SHUT_RDWR))
        unlink(path)
        unlink(log.path)
    }
}

@Suite("commands to a running ringmaster")
struct ControlCommandTests {
    private static let commands: [[String]] = [
        ["status"], ["reload"], ["upgrade"], ["scale", "2"], ["drain", "0"], ["stop"],
    ]

    @Test(
        "a command that is carried out ends with 0, and one that is not with 1; both have sent the same",
        arguments: [
            (["reload"], #"{"command":"reload"}"#), (["upgrade"], #"{"command":"upgrade"}"#),
            (["scale", "4"], #"{"command":"scale","to":4}"#), (["drain", "2"], #"{"command":"drain","slot":2}"#),
            (["stop"], #"{"command":"stop","fast":false}"#), (["stop", "--fast"], #"{"command":"stop","fast":true}"#),
        ])
    func codes(arguments: [String], request: String) throws {
        for (ok, code) in [(true, ExitCode.success), (false, .internalError)] {
            let server = try Answering(#"{"ok":\#(ok),"message":"this is the answer of a test"}"#)
            #expect(SampleProgram.run(arguments + ["--control", server.path]) == code)
            #expect(server.asked == request + "\n")
        }
    }

    @Test("a status is shown both ways, and one without contents is a failure")
    func status() throws {
        let server = try Answering(#"{"ok":true,"message":"","status":\#(StatusTableTests.sample)}"#)
        #expect(SampleProgram.run(["status", "--control", server.path]) == .success)
        #expect(SampleProgram.run(["status", "--json", "--control", server.path]) == .success)
        #expect(server.asked == #"{"command":"status"}"# + "\n" + #"{"command":"status"}"# + "\n")
        let empty = try Answering(#"{"ok":true,"message":""}"#)
        #expect(SampleProgram.run(["status", "--control", empty.path]) == .internalError)
    }

    @Test("an answer that makes no sense is a failure")
    func nonsense() throws {
        let server = try Answering("what?")
        #expect(SampleProgram.run(["reload", "--control", server.path]) == .internalError)
        #expect(!server.asked.isEmpty)
    }

    @Test("without --control a command is used wrongly; where nobody listens it fails", arguments: commands)
    func nobody(command: [String]) throws {
        #expect(SampleProgram.run(command) == .badUsage)
        #expect(SampleProgram.run(command + ["--control", "/tmp/ringmaster-nobody-is-here"]) == .internalError)
    }

    @Test(
        "values that make no sense end with 2",
        arguments: [
            ["scale"], ["scale", "many"], ["scale", "0"], ["scale", "1025"], ["drain"], ["drain", "first"],
            ["drain", "-1"], ["status", "--timeout", "0"], ["status", "--timeout", "soon"], ["stop", "now"],
        ])
    func badUsage(arguments: [String]) {
        #expect(SampleProgram.run(arguments + ["--control", "/tmp/ringmaster-nobody-is-here"]) == .badUsage)
    }

    @Test("each option of these commands can be given by its variable", arguments: commands)
    func variables(command: [String]) throws {
        let given = try EnvironmentArguments.adding(
            to: command, options: SampleProgram.options(command),
            from: [("RINGMASTER_CONTROL", "/run/a"), ("RINGMASTER_TIMEOUT", "2.5"), ("RINGMASTER_WORKERS", "9")])
        #expect(given == command + ["--control=/run/a", "--timeout=2.5"])
    }
}
