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
    init(isReadyAtOnce: Bool = true, failure: FakeService.Failure = .never) throws {
        let (supervisor, worker) = try HandoffSocket.pair()
        control = supervisor
        // The worker has a descriptor and a mapping of its own, as if it were another process.
        controlDescriptor = fcntl(worker.descriptor, F_DUPFD_CLOEXEC, 3)
        let page = try StatusPage.create(slot: 0)
        pageDescriptor = fcntl(page.descriptor, F_DUPFD_CLOEXEC, 3)
        self.page = SupervisorPage(page)
        mirror = PageMirror(page)
        service = FakeService(page: mirror, isReadyAtOnce: isReadyAtOnce, failure: failure)
    }

    let log = LogRecord()

    func start(connectionsMax: Int = 100, orphanGrace: Duration = .seconds(60)) {
        var configuration = WorkerConfiguration(
            slot: 0, incarnation: Self.incarnation, connectionsMax: connectionsMax, orphanGrace: orphanGrace)
        configuration.loop = TransportMode.usual.configuration
        let (controlDescriptor, pageDescriptor) = (controlDescriptor, pageDescriptor)
        let (service, exit, thread, shared, log) = (service, exit, thread, configuration, log)
        Thread.detachNewThread {
            let own = pthread_self()
            thread.update { $0 = own }
            let code = Result {
                try WorkerProcess(
                    shared, control: HandoffSocket(owning: controlDescriptor),
                    page: try StatusPage(owning: pageDescriptor), service: service,
                    logger: log.logger
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

    /// Before the start: as if the worker had rejected so many packets that the supervisor has not read of yet.
    func fillRejections() throws {
        let page = WorkerPage(try StatusPage(owning: fcntl(pageDescriptor, F_DUPFD_CLOEXEC, 3)))
        while page.canReject { #expect(page.reject(1)) }
    }

    // MARK: What the supervisor hears

    func nextPacket() throws -> Packet? { try nextPacketAndSockets()?.packet }

    private func nextPacketAndSockets() throws -> (packet: Packet, fds: [Int32])? {
        guard let control else { return nil }
        guard speaks(withinMilliseconds: 20_000) else { throw TimedOut(description: "the worker says nothing") }
        switch control.receive() {
        case .packet(let packet, let fds, _): return (packet, fds)
        case .endOfFile: return nil
        case let other: throw TimedOut(description: "\(other)")
        }
    }

    /// Whether the worker says something within the time.
    func speaks(withinMilliseconds milliseconds: Int32) -> Bool {
        guard let control else { return false }
        var entry = pollfd(fd: control.descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&entry, 1, milliseconds) > 0
    }

    /// The next packet, which must be an offer.
    func nextOffer() throws -> Offer {
        guard case (.offer(let number, let connection), let fds)? = try nextPacketAndSockets() else {
            throw TimedOut(description: "something else than an offer")
        }
        return Offer(number: number, connection: connection, fds: fds)
    }

    func expectHello() throws {
        #expect(try nextPacket() == .hello(version: Packet.version, pid: getpid(), incarnation: Self.incarnation))
        control?.version = Packet.version
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

    /// Hands over a connection that another worker gave up: one end of each of these socket pairs, which stay open here.
    func sendMigrated(_ fds: [Int32], state bytes: [UInt8], first: UInt64? = nil) throws {
        let control = try #require(control)
        let connection = MigratedConnection(record: Self.record(3), socketCount: fds.count, state: bytes)
        #expect(control.send(migrated: first ?? sent, connection, fds: fds) == .sent)
        sent += 1
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

/// A connection that a worker has offered; the copies of its sockets are closed with it.
final class Offer {
    let number: UInt32
    let connection: MigratedConnection
    let fds: [Int32]

    init(number: UInt32, connection: MigratedConnection, fds: [Int32]) {
        (self.number, self.connection, self.fds) = (number, connection, fds)
    }

    deinit {
        for fd in fds { close(fd) }
    }
}

/// What a worker logs.
final class LogRecord: Sendable {
    let lines = Watched<[String]>([])

    var logger: Logger { Logger(label: "worker") { _ in Handler(lines: lines) } }

    private struct Handler: LogHandler {
        let lines: Watched<[String]>
        var logLevel = Logger.Level.info
        var metadata: Logger.Metadata = [:]

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            let metadata = (event.metadata ?? [:]).map { " \($0)=\($1)" }.sorted().joined()
            lines.update { $0.append("\(event.level): \(event.message)\(metadata)") }
        }
    }
}
