import Foundation
import Testing
import Transport

@testable import IntegrationTesting

extension Integration {
    @Suite(.serialized)
    struct ReloadTests {
        private static func echo(_ listeners: String...) -> (_ control: String) -> String {
            { control in
                let list = listeners.map { "  - listen: \($0)\n    service: echo\n" }.joined()
                return "workers: 2\ncontrol: \(control)\nlisteners:\n\(list)"
            }
        }

        private static func proxy(_ upstream: SocketAddress) -> (_ control: String) -> String {
            { control in
                """
                workers: 2
                control: \(control)
                listeners:
                  - listen: 127.0.0.1:0
                    service: proxy
                    upstream: \(upstream)
                """
            }
        }

        private static func waitForGeneration(_ generation: Int, _ pool: Pool) throws {
            try wait(for: "generation \(generation)\n\(pool.ringmaster.process.errors)") {
                try pool.status().pool.generation == generation
            }
        }

        @Test("SIGHUP: a new listener serves; one that is gone is closed, its idle clients told; all others live on")
        func listeners() throws {
            let directory = try TemporaryDirectory()
            let (gone, new) = (directory.path("gone"), directory.path("new"))
            let pool = try Pool(configuration: Self.echo("127.0.0.1:0", "unix:\(gone)"))
            defer { pool.kill() }
            let staying = try Integration.connectAndEcho(10, to: pool.address)
            let leaving = try Integration.connectAndEcho(10, to: .unix(path: gone))
            defer { (staying + leaving).closeAll() }
            try pool.configure(Self.echo("127.0.0.1:0", "unix:\(new)"))
            pool.ringmaster.process.signal(SIGHUP)
            try Self.waitForGeneration(1, pool)
            for client in leaving + staying { #expect(try client.echoes("still here")) }
            #expect(throws: HarnessError.self) { try Client(to: .unix(path: gone)) }
            #expect(access(gone, F_OK) != 0)
            try Integration.connectAndEcho(10, to: .unix(path: new)).closeAll()
            try Integration.connectAndEcho(10, to: pool.address).closeAll()
            // Nobody will ever have those of the old listener: idle, they are told so long before the grace is over.
            try wait(for: "idle clients of the old listener to be ended") { leaving.allSatisfy { $0.hasEnded() } }
            leaving.closeAll()
            for client in staying { #expect(try client.echoes("still here")) }
            let status = try pool.status()
            #expect(status.listeners.map(\.address).contains("unix:\(new)"))
            #expect(status.listeners.count == 2)
        }

        @Test("connections that come after a reload go to the new upstream; those before stay with the old")
        func upstream() throws {
            let first = try Ringmaster("echo", "--listen", "127.0.0.1:0", "--workers", "1")
            defer { first.kill() }
            let second = try Ringmaster("echo", "--listen", "127.0.0.1:0", "--workers", "1")
            defer { second.kill() }
            let pool = try Pool(configuration: Self.proxy(first.address))
            defer { pool.kill() }
            let early = try pool.ringmaster.connect()
            #expect(try early.echoes("before"))
            try pool.configure(Self.proxy(second.address))
            try pool.succeed("reload")
            let late = try pool.ringmaster.connect()
            #expect(try late.echoes("after"))
            #expect(try early.echoes("after"))
            first.kill()
            try wait(for: "the old upstream's connection to end") { early.hasEnded() }
            #expect(try late.echoes("still here"))
        }

        @Test("a file that is wrong is refused with its line, and the old configuration goes on")
        func invalid() throws {
            let pool = try Pool(configuration: Self.echo("127.0.0.1:0"))
            defer { pool.kill() }
            let client = try pool.ringmaster.connect()
            for (text, reason) in [
                ("workers: 2\nlisteners:\n  - listen: 127.0.0.1:0\n    service: echo\n    servce: x\n", ":5: "),
                ("", "empty"),
            ] {
                try pool.configure { _ in text }
                let refused = try pool.run("reload")
                #expect(refused.poll() == .exited(1))
                #expect((refused.output + refused.errors).contains(reason), "\(refused.output)\(refused.errors)")
                let told = try #require(try pool.status().pool.lastReplacement)
                #expect(told.result == "refused" && told.message.contains(reason))
            }
            #expect(try client.echoes("undisturbed"))
            #expect(try pool.status().pool.generation == 0)
            try pool.configure(Self.echo("127.0.0.1:0"))
            try pool.succeed("reload")
        }

        @Test("twenty SIGHUPs at once are a reload and perhaps one more, not twenty")
        func coalesced() throws {
            let pool = try Pool(configuration: Self.echo("127.0.0.1:0"))
            defer { pool.kill() }
            for _ in 0..<20 { pool.ringmaster.process.signal(SIGHUP) }
            try Self.waitForGeneration(1, pool)
            // A reload that comes now is behind all that the signals asked for.
            try pool.succeed("reload")
            let status = try pool.settle()
            // One, perhaps one for those that came meanwhile, and the last. With luck against it, a test that is held up
            // between two signals makes one more.
            #expect((2...4).contains(status.pool.generation), "\(status.pool.generation)")
        }
    }
}
