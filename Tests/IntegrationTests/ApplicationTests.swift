import Foundation
import Testing
import Transport

@testable import IntegrationTesting

extension Integration {
    /// A program on the library Ringmaster, Examples/LineServer, does all that `ringmaster` does.
    @Suite(.serialized)
    struct ApplicationTests {
        private static let program = Ringmaster.built("line-server")

        private static func pool(_ binary: String = program) throws -> Pool {
            try Pool(["--listen", "127.0.0.1:0", "--workers", "2"], binary: binary, speaker: program)
        }

        /// The worker that answers this client, who sends the beginning of another line with the question.
        @discardableResult
        private static func worker(of client: Client, then rest: String = "") throws -> pid_t {
            try client.send("pid\n" + rest)
            var answer = ""
            while !answer.hasSuffix("\n") {
                let piece = try client.receive(1)
                guard !piece.isEmpty else {
                    throw HarnessError("the connection ended after \(answer.debugDescription)")
                }
                answer += piece
            }
            guard let pid = pid_t(answer.dropLast()) else { throw HarnessError("no pid: \(answer)") }
            return pid
        }

        private static func name(of pid: pid_t) throws -> String {
            try String(contentsOfFile: "/proc/\(pid)/comm", encoding: .utf8).trimmingCharacters(in: .newlines)
        }

        @Test("its help is under its own name, and so are its mistakes")
        func help() throws {
            let help = try ChildProcess.run(Self.program, ["--help"])
            #expect(help.poll() == .exited(0))
            for part in [
                "Answers lines", "line-server <options>", "--listen", "line-server status", "RINGMASTER_WORKERS",
            ] {
                #expect(help.output.contains(part), "\(part) in \(help.output)")
            }
            #expect(try ChildProcess.run(Self.program, ["--version"]).output == "0.1.0\n")
            let mistake = try ChildProcess.run(Self.program, ["--workers", "many"])
            #expect(mistake.poll() == .exited(2))
            #expect(mistake.errors.hasPrefix("line-server: ") && mistake.errors.contains("line-server --help"))
        }

        @Test("it serves with two workers, which are called by its name; status tells of both")
        func serves() throws {
            let pool = try Self.pool()
            defer { pool.kill() }
            let clients = try (0..<20).map { _ in try pool.ringmaster.connect() }
            defer { clients.closeAll() }
            let workers = Set(try clients.map { try Self.worker(of: $0) })
            #expect(workers == Set(pool.workers) && workers.count == 2)
            #expect(Set(try workers.map(Self.name)) == ["line-server:w0", "line-server:w1"])
            let status = try pool.settle()
            #expect(status.name == "line-server" && status.pid == pool.ringmaster.process.pid)
            #expect(status.pool.workers.map(\.live).reduce(0, +) == 20)
            #expect(try pool.run("status").output.hasPrefix("line-server 0.1.0, pid \(status.pid)"))
        }

        @Test("a worker that is killed takes its own clients with it, and is replaced")
        func killed() throws {
            let pool = try Self.pool()
            defer { pool.kill() }
            let clients = try (0..<10).map { _ in try pool.ringmaster.connect() }
            defer { clients.closeAll() }
            let workers = try clients.map { try Self.worker(of: $0) }
            let victim = workers[0]
            kill(victim, SIGKILL)
            for (client, worker) in zip(clients, workers) where worker != victim {
                #expect(try Self.worker(of: client) == worker)
            }
            for (client, worker) in zip(clients, workers) where worker == victim {
                try wait(for: "the end of a client of the victim") { client.hasEnded() }
            }
            try pool.settle()
            #expect(pool.workers.count == 2 && !pool.workers.contains(victim))
            let next = try pool.ringmaster.connect()
            #expect(pool.workers.contains(try Self.worker(of: next)))
        }

        @Test("SIGHUP replaces the workers: who has not begun a line gets FIN, who has gets an answer first")
        func reload() throws {
            let pool = try Self.pool()
            defer { pool.kill() }
            let old = pool.workers
            let idle = try pool.ringmaster.connect()
            let busy = try pool.ringmaster.connect()
            try Self.worker(of: idle)
            try Self.worker(of: busy, then: "cou")
            pool.ringmaster.process.signal(SIGHUP)
            try wait(for: "the idle client's end") { idle.hasEnded() }
            let next = try pool.ringmaster.connect()
            #expect(!old.contains(try Self.worker(of: next)))
            try busy.send("nt\n")
            #expect(try busy.receive(100) == "2\n", "and the end")
            [idle, busy].closeAll()
            let status = try pool.settle()
            #expect(status.pool.generation == 1 && status.pid == pool.ringmaster.process.pid)
            try wait(for: "the old workers to leave") { !old.contains(where: ProcessTable.isRunning) }
        }

        @Test("SIGUSR2 goes on with the new file under the same PID; a program of another name is refused")
        func upgrade() throws {
            let binary = try BinaryCopy(of: Self.program)
            let pool = try Self.pool(binary.path)
            defer { pool.kill() }
            let pid = pool.ringmaster.process.pid
            try binary.replace()
            pool.ringmaster.process.signal(SIGUSR2)
            try wait(for: "the upgrade\n\(pool.ringmaster.process.errors)") { try pool.status().pool.generation == 1 }
            #expect(binary.isRun(by: pid))
            let client = try pool.ringmaster.connect()
            #expect(pool.workers.contains(try Self.worker(of: client)))
            #expect(try Self.name(of: pid) == "line-server")
            try binary.replace(script: "#!/bin/sh\nprintf 'other-server can go on from here'\n")
            let refused = try pool.run("upgrade")
            #expect(refused.poll() == .exited(1))
            #expect(refused.errors.contains("is \(binary.path) another program?"), "\(refused.errors)")
            try Self.worker(of: client)
        }

        @Test("commands scale it and replace a worker; SIGTERM says FIN to idle clients and ends with 0")
        func commands() throws {
            let pool = try Self.pool()
            defer { pool.kill() }
            try pool.succeed("scale", "3")
            #expect(pool.workers.count == 3)
            let before = Set(pool.workers)
            try pool.succeed("drain", "0")
            try pool.settle()
            #expect(before.subtracting(pool.workers).count == 1)
            let client = try pool.ringmaster.connect()
            try Self.worker(of: client)
            pool.ringmaster.process.signal(SIGTERM)
            try wait(for: "FIN") { client.hasEnded() }
            client.close()
            #expect(try pool.ringmaster.process.waitForEnd() == .exited(0), "\(pool.ringmaster.process.errors)")
        }
    }
}
