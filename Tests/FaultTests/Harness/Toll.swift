import Foundation
import Testing

@testable import IntegrationTesting

/// What an injected fault has cost, as a row of the README's table: `table.sh` makes it of these.
struct Toll {
    /// The test's number in `shared/reference/supervision.md`, section 2, or a name.
    let name: String
    let injected: String
    private(set) var connections = 0
    /// Lost with workers that had adopted them and died.
    private(set) var lostAdopted = 0
    /// Lost in any other way.
    private(set) var lostOtherwise = 0

    /// - Parameter adoptedByTheDead: connections that dead workers had adopted, by the supervisor's word.
    init(_ name: String, injected: String, _ loads: [FaultLoad.Summary], adoptedByTheDead: Int = 0) {
        self.name = name
        self.injected = injected
        let cut = loads.reduce(0) { $0 + $1.cut }
        connections = loads.reduce(0) { $0 + $1.started }
        lostAdopted = min(cut, adoptedByTheDead)
        lostOtherwise = cut - lostAdopted + loads.reduce(0) { $0 + $1.broken }
    }

    /// A toll that was not counted by a `faultload`.
    init(_ name: String, injected: String, connections: Int, lost: Int) {
        self.name = name
        self.injected = injected
        self.connections = connections
        lostOtherwise = lost
    }

    /// Prints the row, and adds it to the file that RINGMASTER_FAULT_TABLE names.
    ///
    /// - Precondition: no text has a `|`, which ends a cell even within a code span.
    func record() throws {
        precondition(!(name + injected).contains("|"))
        let row = "| \(name) | \(injected) | \(connections) | \(lostAdopted) | \(lostOtherwise) |\n"
        print(row, terminator: "")
        guard let path = ProcessInfo.processInfo.environment["RINGMASTER_FAULT_TABLE"] else { return }
        guard let file = fopen(path, "a") else { throw HarnessError.system("open \(path)") }
        defer { fclose(file) }
        fputs(row, file)
    }
}
