import Foundation
import Testing
import Transport

@testable import IntegrationTesting

extension Integration {
    /// The process becomes another program, and nobody who is connected or connecting notices.
    @Suite(.serialized)
    struct UpgradeTests {
        private static func pool(
            _ binary: BinaryCopy, _ arguments: String..., environment: [String: String] = [:]
        ) throws -> Pool {
            try Pool(
                ["echo", "--listen", "127.0.0.1:0", "--workers", "2"] + arguments, binary: binary.path,
                environment: environment)
        }

        /// A program that checks itself when `path` exists, and not before; then it is the real one.
        private static func patientCheck(_ path: String) -> String {
            """
            #!/bin/sh
            while [ -n "$RINGMASTER_INTERNAL_CHECK" ] && [ ! -e \(path) ]; do sleep 0.02; done
            exec \(Ringmaster.binary) "$@"
            """
        }

        private static func listeningSockets(of pid: pid_t) -> Set<String> {
            ProcessTable.socketInodes(of: pid).intersection(ProcessTable.listeningInodes())
        }

        private static func expectEcho(_ clients: [Client], _ text: String) throws {
            for client in clients { #expect(try client.echoes(text)) }
        }

        @Test("the PID, the listening sockets and all connections stay; the new program answers who asked for it")
        func upgrade() throws {
            let binary = try BinaryCopy()
            let path = binary.directory.path("echo.sock")
            let pool = try Self.pool(binary, "--listen", "unix:\(path)")
            defer { pool.kill() }
            let pid = pool.ringmaster.process.pid
            let clients =
                try Integration.connectAndEcho(20, to: pool.address)
                + Integration.connectAndEcho(20, to: .unix(path: path))
            defer { clients.closeAll() }
            let sockets = Self.listeningSockets(of: pid)
            #expect(sockets.count == 3, "two listeners and the control socket")
            try binary.replace()
            try pool.succeed("upgrade")
            #expect(binary.isRun(by: pid))
            #expect(pool.workers.contains { binary.isRun(by: $0) })
            #expect(Self.listeningSockets(of: pid) == sockets)
            try Self.expectEcho(clients, "after")
            try Integration.connectAndEcho(5, to: .unix(path: path)).closeAll()
            try Integration.connectAndEcho(5, to: pool.address).closeAll()
            let status = try pool.settle()
            #expect(status.pid == pid && status.pool.generation == 1)
            pool.ringmaster.process.signal(SIGTERM)
            clients.closeAll()
            #expect(try pool.ringmaster.process.waitForEnd() == .exited(0))
            #expect(access(path, F_OK) != 0, "the new program removes the path of the old one's listener")
        }

        @Test("sockets that no worker has adopted, in its queue or in the kernel's, are served after it")
        func unadopted() throws {
            let binary = try BinaryCopy()
            let pool = try Self.pool(binary)
            defer { pool.kill() }
            let old = pool.workers
            for worker in old { kill(worker, SIGSTOP) }
            let clients = try (0..<300).map { _ in try pool.ringmaster.connect() }
            defer { clients.closeAll() }
            for client in clients { try client.send("patience") }
            try wait(for: "workers with sockets in flight") {
                try pool.status().pool.workers.reduce(0) { $0 + $1.inflight } > 0
            }
            try binary.replace()
            try pool.succeed("upgrade")
            for worker in old { kill(worker, SIGCONT) }
            for client in clients { #expect(try client.receive(8) == "patience") }
            let status = try pool.settle()
            #expect(status.pool.counters["accepted"] == 300)
            #expect(status.pool.counters["lost"] == 0)
        }

        @Test("a file that is no good is refused, the old program goes on, and a good one is taken after all")
        func badPrograms() throws {
            let binary = try BinaryCopy()
            let pool = try Self.pool(binary)
            defer { pool.kill() }
            let clients = try Integration.connectAndEcho(10, to: pool.address)
            defer { clients.closeAll() }
            for (script, reason) in [
                ("#!/bin/sh\necho first >&2; echo no good >&2; exit 3\n", "exit code 3: no good"),
                ("#!/bin/sh\nkill -9 $$\n", "signal 9"),
                ("#!/bin/sh\nexit 0\n", "did not say that it can go on"),
                ("#!/nowhere/at/all\n", "No such file"),
                ("this is no program", "Exec format error"),
            ] {
                try binary.replace(script: script)
                let refused = try pool.run("upgrade")
                #expect(refused.poll() == .exited(1))
                #expect((refused.output + refused.errors).contains(reason), "\(refused.output)\(refused.errors)")
                try Self.expectEcho(clients, "old program")
            }
            unlink(binary.path)
            #expect(try pool.run("upgrade").poll() == .exited(1))
            #expect(try pool.status().pool.generation == 0)
            try binary.replace()
            try pool.succeed("upgrade")
            #expect(binary.isRun(by: pool.ringmaster.process.pid))
            try Self.expectEcho(clients, "new program")
        }

        @Test("workers that die send the process back to the old program, which tells why", .needs("cc"))
        func workersDie() throws {
            let binary = try BinaryCopy()
            let pool = try Self.pool(binary)
            defer { pool.kill() }
            let pid = pool.ringmaster.process.pid
            let clients = try Integration.connectAndEcho(10, to: pool.address)
            defer { clients.closeAll() }
            // Slots are made for workers beside the old ones, and their pages stay.
            func descriptors() -> [String] {
                ProcessTable.descriptors(of: pid).filter { !$0.hasPrefix("/memfd:ringmaster-status") }
            }
            try pool.settle()
            let before = descriptors()
            let source = binary.directory.path("abort.c")
            try Data(
                """
                #include <stdlib.h>
                __attribute__((constructor)) static void start(void) { if (getenv("RINGMASTER_INTERNAL_WORKER")) abort(); }
                """.utf8
            ).write(to: URL(filePath: source))
            let library = binary.directory.path("abort.so")
            _ = try ChildProcess.succeed("cc", ["-shared", "-fPIC", "-o", library, source], within: .seconds(60))
            let former = binary.directory.path("former")
            try FileManager.default.copyItem(atPath: Ringmaster.binary, toPath: former)
            try binary.replace(script: "#!/bin/sh\nLD_PRELOAD=\(library) exec \(former) \"$@\"\n")
            let failed = try pool.run("upgrade")
            #expect(failed.poll() == .exited(1))
            #expect((failed.output + failed.errors).contains("new workers died"), "\(failed.output)\(failed.errors)")
            try Self.expectEcho(clients, "back")
            var status = try pool.settle()
            #expect(status.pid == pid && status.pool.counters["rollBacks"] == 1)
            try binary.replace()
            try pool.succeed("upgrade")
            status = try pool.settle()
            #expect(status.pool.counters["replacements"] == 1)
            try Self.expectEcho(clients, "onwards")
            try wait(for: "as many descriptors as before: \(before)\n\(descriptors())") {
                descriptors().count <= before.count
            }
        }

        @Test("ten upgrades leave no descriptor and no process behind")
        func repeated() throws {
            let binary = try BinaryCopy()
            let pool = try Self.pool(binary)
            defer { pool.kill() }
            let pid = pool.ringmaster.process.pid
            let clients = try Integration.connectAndEcho(10, to: pool.address)
            defer { clients.closeAll() }
            // The first one makes slots, whose pages stay, for workers beside the old ones.
            try pool.succeed("upgrade")
            try pool.settle()
            let before = ProcessTable.descriptors(of: pid)
            for _ in 0..<10 {
                try pool.succeed("upgrade")
                try pool.settle()
            }
            try Self.expectEcho(clients, "still here")
            #expect(try pool.settle().pool.generation == 11)
            #expect(pool.workers.count == 2)
            try wait(for: "the descriptors of before: \(before)\nand not \(ProcessTable.descriptors(of: pid))") {
                ProcessTable.descriptors(of: pid).count <= before.count
            }
        }

        @Test("workers that die while the program is replaced are replaced by the new one")
        func deathsMeanwhile() throws {
            let binary = try BinaryCopy()
            let pool = try Self.pool(binary)
            defer { pool.kill() }
            for round in 1...5 {
                let victims = pool.workers
                pool.ringmaster.process.signal(SIGUSR2)
                // At different moments: of the check, of the exec, of the new workers' start.
                usleep(useconds_t(round) * 20_000)
                for worker in victims { kill(worker, SIGKILL) }
                try wait(for: "upgrade \(round)\n\(pool.ringmaster.process.errors)") {
                    try pool.status().pool.counters["replacements"] == round
                }
                try Integration.connectAndEcho(10, to: pool.address).closeAll()
                try pool.settle()
            }
            #expect(pool.workers.count == 2)
        }

        @Test("a second upgrade is refused while one is under way; a reload waits for it, and the new program does it")
        func commandsMeanwhile() throws {
            let binary = try BinaryCopy()
            let pool = try Self.pool(binary)
            defer { pool.kill() }
            let go = binary.directory.path("go")
            try binary.replace(script: Self.patientCheck(go))
            let upgrade = try pool.start("upgrade")
            defer { upgrade.kill() }
            try wait(for: "the check") { pool.ringmaster.process.errors.contains("checking the new program") }
            #expect(try pool.run("upgrade").poll() == .exited(1))
            let reload = try pool.start("reload")
            defer { reload.kill() }
            try wait(for: "the reload to wait") {
                pool.ringmaster.process.errors.contains("it waits for what is under way")
            }
            try Data().write(to: URL(filePath: go))
            #expect(try upgrade.waitForEnd() == .exited(0), "\(upgrade.errors)")
            #expect(try reload.waitForEnd() == .exited(0), "\(reload.errors)")
            #expect(try pool.settle().pool.generation == 2)
        }

        @Test("a stop while the new program checks itself ends it all, the check too")
        func stopMeanwhile() throws {
            let binary = try BinaryCopy()
            let pool = try Self.pool(binary)
            defer { pool.kill() }
            try binary.replace(script: Self.patientCheck(binary.directory.path("never")))
            let upgrade = try pool.start("upgrade")
            defer { upgrade.kill() }
            try wait(for: "the check's process") { pool.ringmaster.workers.count == 3 }
            let children = pool.ringmaster.workers
            pool.ringmaster.process.signal(SIGTERM)
            #expect(try pool.ringmaster.process.waitForEnd() == .exited(0))
            #expect(try upgrade.waitForEnd() == .exited(1))
            try wait(for: "\(children) to be gone") { !children.contains(where: ProcessTable.isRunning) }
        }
    }
}
