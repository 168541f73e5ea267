import Foundation
import Testing

@testable import IntegrationTesting

/// The built binary under load while something goes wrong: what its clients lose. One test after the other: each takes
/// the whole machine.
@Suite(.serialized, .needs("cc")) enum Faults {}

extension Faults {
    /// Connections that the supervisor sends to a worker at most before it has adopted them.
    static let queueMax = 64
}

extension Faults {
    /// How long a test that may go on for ever goes on: RINGMASTER_FAULT_SECONDS.
    static func seconds(default seconds: Int) -> Int {
        ProcessInfo.processInfo.environment["RINGMASTER_FAULT_SECONDS"].flatMap { Int($0) } ?? seconds
    }
}
