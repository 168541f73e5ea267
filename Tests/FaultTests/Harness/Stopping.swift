import Foundation
import Testing

@testable import IntegrationTesting

extension Ringmaster {
    /// Stops it gracefully, and returns its log once it has ended as it should.
    func stopped() throws -> SupervisorLog {
        process.signal(SIGTERM)
        #expect(try process.waitForEnd() == .exited(0), "\(process.errors.suffix(4000))")
        return SupervisorLog(process.errors)
    }

    /// Stops it, expects that each of so many connections was adopted, and adopted once, and returns its log.
    ///
    /// - Parameter moves: how often one of them was given to another worker, which adopted it again.
    func stopped(afterAdopting count: Int, moves: Int = 0) throws -> SupervisorLog {
        let log = try stopped()
        #expect(try log.total("accepted") == count)
        #expect(try log.total("adopted") == count + moves)
        #expect(try log.total("not-served") == 0)
        return log
    }
}
