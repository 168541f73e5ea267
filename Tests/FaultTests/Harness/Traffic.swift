import Transport

@testable import IntegrationTesting

/// Connections of every kind at once: that come and go, that stay, that send without end.
struct Traffic {
    let churn, hold, bulk: FaultLoad
    /// How many stay.
    let held: Int
    var loads: [FaultLoad] { [churn, hold, bulk] }

    /// Starts them and waits until each has got bytes back. With `reopen`, what fails is begun again.
    init(_ address: SocketAddress, churnRate: Int = 2000, held: Int = 200, reopen: Bool = false) throws {
        self.held = held
        let reopen = reopen ? 1 : 0
        churn = try FaultLoad(.churn, address, ["rate": churnRate, "messages": 3])
        hold = try FaultLoad(.hold, address, ["connections": held, "interval": 50, "reopen": reopen])
        bulk = try FaultLoad(
            .bulk, address, ["connections": 4, "size": 10_000, "bytes": 1_000_000_000_000, "reopen": reopen])
        do {
            try churn.wait(for: "begun") { $0.completed > 0 }
            try hold.wait(for: "begun") { $0.messages >= held }
            try bulk.wait(for: "begun") { $0.bytes > 0 }
        } catch {
            kill()
            throw error
        }
    }

    /// What each has counted by now.
    func summaries() throws -> [FaultLoad.Summary] { try loads.map { try $0.summary() } }

    /// Lets everything come back, and returns what each has counted in all.
    func finish() throws -> [FaultLoad.Summary] { try loads.map { try $0.finish() } }

    /// Waits until each has got more back than it had before this call.
    func waitForProgress() throws {
        let before = try summaries()
        for (load, earlier) in zip(loads, before) {
            try load.wait(for: "got on") { $0.bytes > earlier.bytes }
        }
    }

    var failures: String { loads.map(\.failures).joined(separator: "\n") }

    func kill() { for load in loads { load.kill() } }
}
