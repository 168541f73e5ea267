import Foundation
import Testing
import Transport

@testable import IntegrationTesting

extension Integration {
    @Suite(.serialized, .needs("initdb", "postgres", "pg_isready", "pgbench", "setpriv"))
    struct PostgresTests {
        @Test("pgbench fills a database and runs both of its loads through the proxy without a failed transaction")
        func pgbench() throws {
            let postgres = try PostgresServer()
            defer { postgres.stop() }
            let proxy = try Ringmaster(
                "proxy", "--listen", "127.0.0.1:0", "--upstream", "unix:\(postgres.socketPath)", "--workers", "2")
            defer { proxy.kill() }
            let server = ["-h", "127.0.0.1", "-p", "\(proxy.address.port!)", "-U", "postgres"]

            let filled = try ChildProcess.succeed(
                "pgbench", server + ["-i", "-s", "1", "postgres"], within: .seconds(60))
            #expect(filled.contains("done in"))
            for load in [["-S"], [], ["-S", "-C"]] {
                let output = try ChildProcess.succeed(
                    "pgbench", server + load + ["-c", "8", "-T", "3", "postgres"], within: .seconds(60))
                #expect(output.contains("number of failed transactions: 0 (0.000%)"), "\(load): \(output)")
                #expect(!output.contains("number of transactions actually processed: 0\n"), "\(load): \(output)")
                #expect(!output.contains("error:"), "\(load): \(output)")
            }
        }
    }
}
