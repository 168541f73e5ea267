import Foundation
import Glibc
import Synchronization
import Testing

@testable import Handoff

@Suite("Hand-off to a full descriptor table") struct FullDescriptorTableTests {
    /// What came in, seen in the thread whose table was full.
    private enum Outcome: Equatable {
        case notTried
        case noPrivateTable
        case received(Packet, inodes: [FileIdentity], fdsTruncated: Bool, freeLeft: Int)
        case other(ReceiveResult)
    }

    /// How many descriptors the thread may fill its table with; the limit of most machines is far below.
    private static let descriptorsMax: rlim_t = 1 << 20

    private static var limit: rlim_t {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        return limit.rlim_cur
    }

    @Test(
        "the connections that fit are delivered with the packet, and it says that others did not",
        .enabled(if: limit <= descriptorsMax, "RLIMIT_NOFILE is too high to fill a table"), arguments: [0, 1, 3])
    func receivesWhatFits(free: Int) throws {
        let (supervisor, worker) = try HandoffSocket.pair()
        let files = try (0..<4).map { _ in try memoryFile() }
        defer { for fd in files { close(fd) } }
        let records = (0..<4).map { PacketSamples.record(PacketSamples.addresses[$0], $0) }
        #expect(supervisor.send(connections: 0, records: records, fds: files) == .sent)

        let outcome = try inThreadWithFullTable(socket: worker, free: free)
        if outcome == .noPrivateTable { try Test.cancel("close_range(2) is missing or denied here") }
        let arrived = files.prefix(free).map(inode)
        #expect(
            outcome == .received(.connections(first: 0, records), inodes: arrived, fdsTruncated: true, freeLeft: 0))
        #expect(worker.receive() == .empty)
    }

    @Test(
        "a moved connection that does not fit whole comes without any descriptor, and leaves none open",
        .enabled(if: limit <= descriptorsMax, "RLIMIT_NOFILE is too high to fill a table"),
        arguments: [false, true], [0, 5_000])
    func receivesMovedWholeOrNot(isOffer: Bool, stateSize: Int) throws {
        let (sender, receiver) = try HandoffSocket.pair()
        sender.version = Packet.migrationVersion
        let files = try (0..<3).map { _ in try memoryFile() }
        defer { for fd in files { close(fd) } }
        let moved = PacketSamples.moved(.ipv4(1, port: 2), socketCount: 3, stateSize: stateSize)
        for free in 0...moved.descriptorCount {
            let isWhole = free == moved.descriptorCount
            let arriving = isWhole || stateSize == 0 ? moved : moved.with(state: [])
            let packet: Packet
            if isOffer {
                #expect(sender.send(offer: 9, moved, fds: files) == .sent)
                packet = .offer(number: 9, arriving)
            } else {
                #expect(sender.send(migrated: 9, moved, fds: files) == .sent)
                packet = .migrated(first: 9, arriving)
            }
            let outcome = try inThreadWithFullTable(socket: receiver, free: free)
            if outcome == .noPrivateTable { try Test.cancel("close_range(2) is missing or denied here") }
            #expect(
                outcome
                    == .received(
                        packet, inodes: isWhole ? files.map(inode) : [], fdsTruncated: !isWhole,
                        freeLeft: isWhole ? free - files.count : free))
            #expect(receiver.receive() == .empty)
        }
    }

    /// Takes every free descriptor of the calling thread's table.
    private static func fillTable() -> [Int32] {
        var taken: [Int32] = []
        while case let next = dup(2), next >= 0 { taken.append(next) }
        return taken
    }

    /// Receives in a thread that has a descriptor table of its own with room for `free` more descriptors, so that no
    /// other test runs short. The table goes with the thread.
    private func inThreadWithFullTable(socket: HandoffSocket, free: Int) throws -> Outcome {
        let descriptor = UInt32(socket.descriptor)
        // The test waits for the thread, so only one of them uses the socket at a time.
        nonisolated(unsafe) let socket = socket
        let outcome = Mutex(Outcome.notTried)
        try onThread {
            let unshare: Int32 = 2  // CLOSE_RANGE_UNSHARE
            guard closeRange(3, descriptor - 1, unshare) == 0, closeRange(descriptor + 1, .max, 0) == 0 else {
                outcome.withLock { $0 = .noPrivateTable }
                return
            }
            for fd in Self.fillTable().suffix(free) { close(fd) }
            let result: Outcome =
                switch socket.receive() {
                case .packet(let packet, let fds, let truncated):
                    .received(
                        packet, inodes: fds.map(inode), fdsTruncated: truncated, freeLeft: Self.fillTable().count)
                case let other: .other(other)
                }
            outcome.withLock { $0 = result }
        }
        return outcome.withLock { $0 }
    }
}

/// close_range(2), Linux 5.9, which Swift's Glibc module leaves out. -1 where the C library has none.
private func closeRange(_ first: UInt32, _ last: UInt32, _ flags: Int32) -> Int32 {
    guard let symbol = dlsym(nil, "close_range") else { return -1 }
    let call = unsafeBitCast(symbol, to: (@convention(c) (UInt32, UInt32, Int32) -> Int32).self)
    return call(first, last, flags)
}

/// Runs `body` on a thread of its own and waits until it has returned.
func onThread(_ body: @escaping @Sendable () -> Void) throws {
    let done = DispatchSemaphore(value: 0)
    Thread.detachNewThread {
        body()
        done.signal()
    }
    try #require(done.wait(timeout: .now() + 120) == .success, "the thread has not finished")
}
