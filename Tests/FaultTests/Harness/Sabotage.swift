import Foundation

@testable import IntegrationTesting

/// A pool that was started with this environment can be made to lose workers in ways that a signal cannot bring about.
struct Sabotage {
    private let directory: TemporaryDirectory

    init() throws {
        directory = try TemporaryDirectory()
    }

    private var flag: String { directory.path("flag") }

    /// What the supervisor must be started with.
    var environment: [String: String] {
        get throws { ["LD_PRELOAD": try Fixture.sabotage.get(), "FAULT_FLAG": flag] }
    }

    /// From now on every worker that is started aborts at once.
    func abortAtBoot() throws { try Data().write(to: URL(filePath: flag)) }

    /// From now on workers that are started live.
    func letBoot() { unlink(flag) }

    /// The worker falls into an endless loop.
    static func hang(_ worker: pid_t) { kill(worker, SIGURG) }
}
