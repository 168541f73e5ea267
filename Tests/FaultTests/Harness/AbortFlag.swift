import Foundation

@testable import IntegrationTesting

/// While it is raised, every worker that is started aborts at once.
struct AbortFlag {
    private let directory: TemporaryDirectory

    init() throws {
        directory = try TemporaryDirectory()
    }

    private var path: String { directory.path("flag") }

    /// What the supervisor must be started with.
    var environment: [String: String] {
        get throws { ["LD_PRELOAD": try Fixture.abortAtBoot.get(), "FAULT_FLAG": path] }
    }

    func raise() throws { try Data().write(to: URL(filePath: path)) }

    func lower() { unlink(path) }
}
