import CSocket
import Foundation
import Handoff
import Logging
import Testing
import Transport

@testable import TransportTesting
@testable import Worker

/// A worker on a thread of its own, and the supervisor's ends of its socket and page.
final class WorkerThread {
    private(set) var control: HandoffSocket?
    let service: FakeService
    private var page: SupervisorPage
    private let mirror: PageMirror
    private let exit = Watched<Result<ExitCode, any Error>?>(nil)
    private let thread = Watched<pthread_t?>(nil)
    private let controlDescriptor: Int32
    private let pageDescriptor: Int32
    private var sent: UInt64 = 0

    static let incarnation: UInt32 = 7

    /// A worker that is not started yet.
    init(isReadyAtOnce: Bool = true, cannotStart: Bool = false) throws {
        let (supervisor, worker) = try HandoffSocket.pair()
        control = supervisor
        // The worker has a descriptor and a mapping of its own, as if it were another process.
        controlDescriptor = fcntl(worker.descriptor, F_DUPFD_CLOEXEC, 3)
        let page = try StatusPage.create(slot: 0)
        pageDescriptor = fcntl(page.descriptor, F_DUPFD_CLOEXEC, 3)
        self.page = SupervisorPage(page)
        mirror = PageMirror(page)
        service = FakeService(page: mirror, isReadyAtOnce: isReadyAtOnce, cannotStart: cannotStart)
    }

    func start(connectionsMax: Int = 100, orphanGrace: Duration = .seconds(60)) {
        var configuration = WorkerConfiguration(
            slot: 0, incarnation: Self.incarnation, connectionsMax: connectionsMax, orphanGrace: orphanGrace)
        configuration.loop = TransportMode.usual.configuration
        let (controlDescriptor, pageDescriptor) = (controlDescriptor, pageDescriptor)
        let (service, exit, thread, shared) = (service, exit, thread, configuration)
        Thread.detachNewThread {
            let own = pthread_self()
            thread.update { $0 = own }
            let code = Result {
                try WorkerProcess(
                    shared, control: HandoffSocket(owning: controlDescriptor),
                    page: try StatusPage(owning: pageDescriptor), service: service,
                    logger: Logger(label: "worker") { _ in SwiftLogNoOpLogHandler() }
                ).run()
            }
            exit.update { $0 = code }
        }
    }

    /// A worker that has said hello and ready.
    static func ready(connectionsMax: Int = 100, orphanGrace: Duration = .seconds(60)) throws -> WorkerThread {
        let worker = try WorkerThread()
        worker.start(connectionsMax: connectionsMax, orphanGrace: orphanGrace)
        try worker.expectHello()
        #expect(try worker.nextPacket() == .ready)
        return worker
    }

    // MARK: What the supervisor hears

    func nextPacket() throws -> Packet? {
        guard let control else { return nil }
        var entry = pollfd(fd: control.descriptor, events: Int16(POLLIN), revents: 0)
        guard poll(&entry, 1, 20_000) > 0 else { throw TimedOut(description: "the worker says nothing") }
        switch control.receive() {
        case .packet(let packet, _, _): return packet
        case .endOfFile: return nil
        case let other: throw TimedOut(description: "\(other)")
        }
    }

    func expectHello() throws {
        #expect(try nextPacket() == .hello(version: Packet.version, pid: getpid(), incarnation: Self.incarnation))
    }

    func exitCode() throws -> ExitCode {
        try exit.wait(for: "the worker to leave") { $0 != nil }!.get()
    }

    var isRunning: Bool { exit.value == nil }

    /// `adopted` as it stands in the page, without reading the rejections.
    var adopted: UInt64 { mirror.adopted }

    func reading() throws -> PageReading { try page.read(sent: sent) }

    func count(_ counter: Counter) -> UInt64 { page.count(counter) }

    // MARK: What the supervisor says

    func send(_ packet: Packet) { #expect(control?.send(packet) == .sent) }

    func sendBytes(_ bytes: [UInt8]) throws {
        let control = try #require(control)
        #expect(csocket_send(control.descriptor, bytes, bytes.count, nil, 0) == bytes.count)
    }

    /// Hands over one end of each of `count` new socket pairs, numbered by their listeners, from sequence number `first`
    /// on or from the next; returns the other ends.
    @discardableResult
    func sendConnections(_ count: Int, first: UInt64? = nil) throws -> [ClientEnd] {
        let pairs = try (0..<count).map { _ in try ClientEnd.pair() }
        try send(pairs.map(\.served), first: first)
        return pairs.map(\.client)
    }

    /// Hands over these descriptors, closing them here.
    private func send(_ fds: [Int32], first: UInt64?) throws {
        try sendKeeping(fds, first: first)
        for fd in fds { close(fd) }
    }

    /// Hands over these descriptors, which stay open here.
    func sendKeeping(_ fds: [Int32], first: UInt64? = nil) throws {
        let control = try #require(control)
        let records = fds.indices.map { Self.record(UInt16($0)) }
        #expect(control.send(connections: first ?? sent, records: records, fds: fds) == .sent)
        sent += UInt64(fds.count)
    }

    static func record(_ listener: UInt16) -> ConnectionRecord {
        ConnectionRecord(
            listener: listener, peer: .ipv4(0x7f00_0001, port: 1000 + listener),
            acceptedAt: MonotonicTime(nanoseconds: 5))
    }

    func vanish() { control = nil }

    func signal(_ number: Int32) throws {
        pthread_kill(try thread.wait(for: "the worker's thread") { $0 != nil }!, number)
    }
}

/// A client's end of a socket pair.
final class ClientEnd {
    let fd: Int32

    private init(_ fd: Int32) { self.fd = fd }
    deinit { close(fd) }

    static func pair() throws -> (client: ClientEnd, served: Int32) {
        var ends: [Int32] = [-1, -1]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends) == 0)
        return (ClientEnd(ends[0]), ends[1])
    }

    /// The next byte; nil at end of file.
    func byte() throws -> UInt8? {
        var entry = pollfd(fd: fd, events: Int16(POLLIN), revents: 0)
        guard poll(&entry, 1, 20_000) > 0 else { throw TimedOut(description: "nothing comes") }
        var byte: UInt8 = 0
        return recv(fd, &byte, 1, 0) == 1 ? byte : nil
    }
}
