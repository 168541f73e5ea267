import Testing

@testable import Transport

/// What happened to a datagram channel, in order.
enum DatagramHappening: Hashable, Sendable {
    case received([UInt8], DatagramHeader)
    case failed(SystemError)
    /// Recorded when `onSettled` is set.
    case settled(Int, DatagramOutcome)
    case becameWritable
    case closed(CloseReason)

    var bytes: [UInt8]? {
        if case .received(let bytes, _) = self { bytes } else { nil }
    }

    var header: DatagramHeader? {
        if case .received(_, let header) = self { header } else { nil }
    }

    var error: SystemError? {
        if case .failed(let error) = self { error } else { nil }
    }
}

/// A datagram channel that records what it is told, and does what a test says.
final class RecordingDatagram: Datagram {
    let recorder: Recorder<DatagramHappening>
    var onReceived: ((RecordingDatagram, [UInt8], DatagramHeader) -> Void)?
    var onFailed: ((RecordingDatagram, SystemError) -> Void)?
    var onSettled: ((RecordingDatagram, Int, DatagramOutcome) -> Void)?
    var onWritable: ((RecordingDatagram) -> Void)?

    init(
        _ loop: EventLoop, fd: Int32, _ recorder: Recorder<DatagramHappening>,
        _ configuration: DatagramConfiguration = .init()
    ) {
        self.recorder = recorder
        super.init(loop, fd: fd, configuration: configuration)
    }

    override func received(_ bytes: RawSpan, _ header: DatagramHeader) {
        let copy = bytes.withUnsafeBytes { Array($0) }
        recorder.record(.received(copy, header))
        onReceived?(self, copy, header)
    }

    override func failed(_ error: SystemError) {
        recorder.record(.failed(error))
        onFailed?(self, error)
    }

    override func settled(_ count: Int, _ outcome: DatagramOutcome) {
        guard let onSettled else { return super.settled(count, outcome) }
        recorder.record(.settled(count, outcome))
        onSettled(self, count, outcome)
    }

    override func becameWritable() {
        recorder.record(.becameWritable)
        onWritable?(self)
    }

    override func closed(_ reason: CloseReason) {
        recorder.record(.closed(reason))
    }

    @discardableResult
    func send(
        _ bytes: [UInt8], to address: SocketAddress? = nil, segmentSize: Int? = nil, trafficClass: UInt8? = nil
    ) -> Bool {
        bytes.withUnsafeBytes { send($0, to: address, segmentSize: segmentSize, trafficClass: trafficClass) }
    }

    /// Sends each datagram back to where it came from.
    static func echo(_ datagram: RecordingDatagram) {
        datagram.onReceived = { datagram, bytes, header in
            _ = datagram.send(bytes, to: header.sender)
        }
    }
}

extension Recorder<DatagramHappening> {
    /// How each send ended, so far: one outcome for each.
    var outcomes: [DatagramOutcome] { Self.outcomes(all) }

    private static func outcomes(_ happenings: [DatagramHappening]) -> [DatagramOutcome] {
        happenings.flatMap { happening in
            if case .settled(let count, let outcome) = happening { return Array(repeating: outcome, count: count) }
            return []
        }
    }

    /// Waits for a number of sends to end, and returns how each did.
    func waitForOutcomes(_ count: Int) throws -> [DatagramOutcome] {
        Self.outcomes(try wait { Self.outcomes($0).count >= count })
    }

    /// The datagrams received so far.
    var datagrams: [[UInt8]] { all.compactMap(\.bytes) }

    /// Waits for a number of datagrams, and returns all that came.
    func waitForDatagrams(_ count: Int) throws -> [[UInt8]] {
        try wait { $0.count { $0.bytes != nil } >= count }.compactMap(\.bytes)
    }

    /// Waits for errors to be told, and returns them.
    func waitForErrors(_ count: Int = 1) throws -> [SystemError] {
        try wait { $0.count { $0.error != nil } >= count }.compactMap(\.error)
    }

    /// Waits for the end, and returns why.
    func waitForEnd() throws -> CloseReason {
        let happenings = try wait { if case .closed? = $0.last { true } else { false } }
        guard case .closed(let reason)? = happenings.last else { throw TimedOut(description: "not closed") }
        return reason
    }
}

/// A datagram channel on a loop of its own.
final class TestDatagram: Sendable {
    let thread: LoopThread
    let address: SocketAddress
    let recorder = Recorder<DatagramHappening>()
    private let box: Recorder<Box>

    // Sendable: the channel inside is touched on its loop's thread only.
    private struct Box: @unchecked Sendable {
        let datagram: RecordingDatagram
    }

    /// Takes over the socket, or makes one bound to `address`.
    init(
        _ mode: TransportMode, _ address: SocketAddress = .anyLoopback, fd: Int32? = nil,
        buffers: (count: UInt32, size: UInt32)? = nil, configuration: DatagramConfiguration = .init(),
        reading: Bool = true, setUp: @escaping @Sendable (RecordingDatagram) -> Void = { _ in }
    ) throws {
        let fd = try fd ?? Socket.datagram(boundTo: address)
        var loopConfiguration = mode.configuration
        if let buffers {
            loopConfiguration.receiveBuffers.count = buffers.count
            loopConfiguration.receiveBuffers.size = buffers.size
        }
        self.address = try #require(Socket.localAddress(of: fd))
        thread = try LoopThread(loopConfiguration)
        let recorder = recorder
        let box = Recorder<Box>()
        self.box = box
        try thread.on { loop in
            let datagram = RecordingDatagram(loop, fd: fd, recorder, configuration)
            setUp(datagram)
            datagram.start(reading: reading)
            box.record(Box(datagram: datagram))
        }
    }

    /// Runs `body` on the loop with the channel.
    @discardableResult
    func on<Value: Sendable>(_ body: @escaping @Sendable (RecordingDatagram) -> Value) throws -> Value {
        let box = box
        return try thread.on { _ in body(box.all[0].datagram) }
    }

    /// Ends the loop, and with it the channel.
    func join() throws { try thread.join() }
}
