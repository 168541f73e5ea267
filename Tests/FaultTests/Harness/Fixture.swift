import Foundation

@testable import IntegrationTesting

/// The C programs under `Fixtures`, compiled once for a run of the tests.
enum Fixture {
    /// Removed at the end of the run.
    private static let directory: Result<String, any Error> = Result {
        var template = Array("/tmp/ringmaster-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw HarnessError.system("mkdtemp") }
        chmod(&template, 0o755)
        atexit { try? FileManager.default.removeItem(atPath: Fixture.directory.get()) }
        return template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
    }
    private static let sources = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Fixtures")

    static let load = Result { try build("faultload") }
    static let inflight = Result { try build("inflight") }
    static let orphanage = Result { try build("orphanage") }
    static let sabotage = Result { try build("sabotage", ["-shared", "-fPIC"]) }

    private static func build(_ name: String, _ options: [String] = []) throws -> String {
        let program = "\(try directory.get())/\(name)"
        _ = try ChildProcess.succeed(
            "cc",
            ["-O2", "-Wall", "-Wextra", "-Werror"] + options
                + ["-o", program, sources.appending(path: "\(name).c").path], within: .seconds(60))
        return program
    }
}
