import Testing

@testable import Transport

/// What happened to a connection, in order.
enum Happening: Hashable, Sendable {
    case received([UInt8])
    case inputEnding
    case inputEnded
    case becameWritable
    case flushed
    case closed(CloseReason)

    var isReceived: Bool {
        if case .received = self { true } else { false }
    }

    var isClosed: Bool {
        if case .closed = self { true } else { false }
    }
}

/// A connection that records what it is told, and does what a test says.
final class RecordingConnection: Connection {
    let recorder: Recorder<Happening>
    var onReceived: ((RecordingConnection, [UInt8]) -> Void)?
    /// In place of ``onReceived``, with the bytes where they lie.
    var onSpan: ((RecordingConnection, RawSpan) -> Void)?
    var onSpliced: ((RecordingConnection, Int) -> Void)?
    var onInputEnding: ((RecordingConnection) -> Void)?
    var onInputEnded: ((RecordingConnection) -> Void)?
    var onWritable: ((RecordingConnection) -> Void)?
    var onProgressed: ((RecordingConnection) -> Void)?
    var onFlushed: ((RecordingConnection) -> Void)?
    var onOutputFinished: ((RecordingConnection) -> Void)?
    var onClosed: ((RecordingConnection) -> Void)?
    var recordsData = true

    init(
        _ loop: EventLoop, fd: Int32, _ recorder: Recorder<Happening>,
        _ configuration: ConnectionConfiguration = .init()
    ) {
        self.recorder = recorder
        super.init(loop, fd: fd, configuration: configuration)
    }

    init(
        _ loop: EventLoop, _ detached: consuming DetachedConnection, _ recorder: Recorder<Happening>,
        _ configuration: ConnectionConfiguration = .init()
    ) {
        self.recorder = recorder
        super.init(loop, detached, configuration: configuration)
    }

    override func received(_ bytes: RawSpan) {
        if let onSpan { return onSpan(self, bytes) }
        let copy = bytes.withUnsafeBytes { Array($0) }
        if recordsData { recorder.record(.received(copy)) }
        onReceived?(self, copy)
    }

    override func spliced(_ count: Int) { onSpliced?(self, count) }

    override func inputEnded() {
        recorder.record(.inputEnded)
        if let onInputEnded { onInputEnded(self) } else { super.inputEnded() }
    }

    override func inputEnding() {
        recorder.record(.inputEnding)
        onInputEnding?(self)
    }

    override func becameWritable() {
        recorder.record(.becameWritable)
        onWritable?(self)
    }

    override func progressed() { onProgressed?(self) }

    override func outputFinished() { onOutputFinished?(self) }

    override func flushed() {
        recorder.record(.flushed)
        onFlushed?(self)
    }

    override func closed(_ reason: CloseReason) {
        recorder.record(.closed(reason))
        onClosed?(self)
    }

    @discardableResult
    func write(_ bytes: [UInt8]) -> Bool { bytes.withUnsafeBytes { write($0) } }

    @discardableResult
    func write(_ text: String) -> Bool { write(Array(text.utf8)) }

    /// Set-up of a connection that sends back what it receives, and records its events only.
    static func echo(_ connection: RecordingConnection) {
        connection.recordsData = false
        connection.onSpan = { connection, bytes in connection.write(bytes) }
    }
}

extension Recorder<Happening> {
    /// All bytes received so far, joined.
    var bytes: [UInt8] { Self.bytes(all) }

    /// All that happened so far but the arrival of bytes.
    var events: [Happening] { all.filter { !$0.isReceived } }

    /// Waits for the end, and returns why.
    @discardableResult
    func waitForEnd() throws -> CloseReason {
        guard case .closed(let reason)? = try wait(until: { $0.last?.isClosed == true }).last else {
            throw TimedOut(description: "not closed")
        }
        return reason
    }

    func waitForBytes(_ count: Int) throws -> [UInt8] {
        Self.bytes(try wait { Self.bytes($0).count >= count })
    }

    private static func bytes(_ happenings: [Happening]) -> [UInt8] {
        var all: [UInt8] = []
        for case .received(let bytes) in happenings { all += bytes }
        return all
    }
}

/// Carries a connection between threads.
// Sendable: the connection inside is touched on its loop's thread only.
struct ConnectionBox: @unchecked Sendable {
    let connection: RecordingConnection
    init(_ connection: RecordingConnection) { self.connection = connection }
}
