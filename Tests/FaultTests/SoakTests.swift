import Foundation
import Testing
import Transport

@testable import IntegrationTesting

/// Random faults, one after the other, for as long as it is asked.
private struct Injector {
    enum Fault: CaseIterable {
        case kill, stop, shortOfDescriptors, reload, upgrade, scale, drain
    }

    let pool: Pool
    let binary: BinaryCopy
    private(set) var counts: [Fault: Int] = [:]
    private var killedLast = MonotonicTime.now
    private var wanted: Int
    /// Whether workers die, too.
    var kills = true

    /// More deaths than two per worker and minute make the supervisor wait with restarts.
    private static let killInterval: Duration = .seconds(10)
    private static let workerCounts = 2...6

    init(_ pool: Pool, _ binary: BinaryCopy, wanted: Int) {
        self.pool = pool
        self.binary = binary
        self.wanted = wanted
    }

    mutating func inject() throws {
        var fault = Fault.allCases.randomElement()!
        if fault == .kill, !kills || killedLast + Self.killInterval > .now { fault = .stop }
        counts[fault, default: 0] += 1
        guard let worker = pool.workers.randomElement() else { return }
        switch fault {
        case .kill:
            killedLast = .now
            // Equal deaths in a row would be collapsed in the log.
            kill(worker, counts[fault]!.isMultiple(of: 2) ? SIGALRM : SIGKILL)
        case .stop:
            kill(worker, SIGSTOP)
            usleep(UInt32.random(in: 1_000...1_500_000))
            kill(worker, SIGCONT)
        case .shortOfDescriptors:
            let limit = ProcessTable.descriptors(of: worker).count + 1
            // It may have left meanwhile.
            _ = try ChildProcess.run("prlimit", ["--pid", "\(worker)", "--nofile=\(limit):"])
            usleep(500_000)
            _ = try ChildProcess.run("prlimit", ["--pid", "\(worker)", "--nofile=4096:"])
        case .reload:
            try perform("reload")
        case .upgrade:
            try binary.replace()
            try perform("upgrade")
        case .scale:
            wanted = Self.workerCounts.randomElement()!
            try perform("scale", "\(wanted)")
        case .drain:
            let slots = try pool.status().pool.workers.filter { $0.state == "ready" }.map(\.slot)
            if let slot = slots.randomElement() { try perform("drain", "\(slot)") }
        }
    }

    /// A command that may be refused, as when a worker has just died.
    private func perform(_ command: String...) throws {
        let process =
            command.count == 1 ? try pool.run(command[0]) : try pool.run(command[0], command[1])
        guard [.exited(0), .exited(1)].contains(process.poll()) else {
            throw HarnessError("\(command): \(process.poll()!)\n\(process.errors)")
        }
    }

    var description: String {
        Fault.allCases.map { "\(counts[$0, default: 0]) × \($0)" }.joined(separator: ", ")
    }
}

/// What must be after all as it was before: per process, when nothing goes on.
private struct Baseline {
    /// How many of each kind: `socket`, `anon_inode:[pidfd]`, a path. Without the status pages, each of which stays for
    /// the next worker in its slot.
    let supervisorDescriptors: [String: Int]
    let workerDescriptors: [Int]
    let statusPages: Int
    let residentBytes: Int

    init(_ pool: Pool) throws {
        let status = try pool.settle()
        let port = pool.address.port!
        try wait(for: "connections to be gone: \(status)\n\(ProcessTable.queues(port: port))") {
            try pool.status().pool.workers.allSatisfy { $0.live == 0 && $0.inflight == 0 }
        }
        let supervisor = pool.ringmaster.process.pid
        let descriptors = ProcessTable.descriptors(of: supervisor)
        let (pages, others) = (descriptors.filter(Self.isPage), descriptors.filter { !Self.isPage($0) })
        statusPages = pages.count
        supervisorDescriptors = Dictionary(others.map { (Self.kind($0), 1) }, uniquingKeysWith: +)
        workerDescriptors = pool.workers.map { ProcessTable.descriptors(of: $0).count }.sorted()
        residentBytes = try ([supervisor] + pool.workers).map(ProcessTable.residentBytes).reduce(0, +)
    }

    private static func isPage(_ descriptor: String) -> Bool { descriptor.hasPrefix("/memfd:ringmaster-status-") }

    /// `socket` of `socket:[4711]`.
    private static func kind(_ descriptor: String) -> String {
        descriptor.hasPrefix("/") || descriptor.hasPrefix("anon_inode:")
            ? descriptor : String(descriptor.prefix { $0 != ":" })
    }
}

extension Faults {
    @Suite(.serialized, .needs("cc", "prlimit"))
    struct SoakTests {
        private static let growthMaxBytes = 64 << 20
        /// Slots for the most workers that the injector asks for: four for each, and eight.
        private static let slotsMax = 4 * 6 + 8

        @Test(
            "T10: after minutes of random faults under load, descriptors, memory and sockets on the way are what they were"
        )
        func soak() throws {
            let workers = 4
            let binary = try BinaryCopy()
            let pool = try Pool(
                ["echo", "--listen", "127.0.0.1:0", "--workers", "\(workers)"], binary: binary.path)
            defer { pool.kill() }
            // Under load once before the measuring, for what is allocated once.
            let first = try Traffic(pool.address, churnRate: 1000)
            defer { first.kill() }
            try pool.succeed("reload")
            var summaries = try first.finish()
            let before = try Baseline(pool)

            let traffic = try Traffic(pool.address, churnRate: 1000, reopen: true)
            defer { traffic.kill() }
            var injector = Injector(pool, binary, wanted: workers)
            let seconds = Faults.seconds(default: 120)
            // Nobody dies in the second half: what is cut in it, no death has cut.
            var (deaths, cutByDeaths) = (SupervisorLog.Deaths(), 0)
            for kills in [true, false] {
                injector.kills = kills
                let end = MonotonicTime.now + .seconds(seconds) / 2
                while MonotonicTime.now < end {
                    try injector.inject()
                    usleep(UInt32.random(in: 0...1_000_000))
                }
                try pool.succeed("scale", "\(workers)")
                try wait(for: "\(workers) workers", within: .seconds(90)) { try pool.status().isComplete }
                try traffic.waitForProgress()
                if kills {
                    deaths = try pool.log.deaths()
                    cutByDeaths = min(deaths.lost, try traffic.summaries().reduce(0) { $0 + $1.cut })
                }
            }
            summaries += try traffic.finish()
            #expect(try pool.log.deaths().count == deaths.count)
            let toll = Toll(
                "T10", injected: "\(seconds) s of random faults: \(injector.description)", summaries,
                adoptedByTheDead: cutByDeaths)
            #expect(toll.lostOtherwise == 0, "\(summaries)\n\(deaths)\n\(traffic.failures)")

            let after = try Baseline(pool)
            #expect(after.supervisorDescriptors == before.supervisorDescriptors)
            #expect(after.workerDescriptors == before.workerDescriptors)
            #expect(after.statusPages <= Self.slotsMax)
            #expect(after.residentBytes < before.residentBytes + Self.growthMaxBytes)
            #expect(try pool.ringmaster.stopped().total("not-served") == 0)
            try toll.record()
        }
    }
}
