import CSocket
import Foundation
import Testing

@testable import Transport

/// The other side of a connection under test: plain blocking system calls, sharing no code with the transport.
final class Peer: Sendable {
    let fd: Int32

    init(fd: Int32) {
        self.fd = fd
        var timeout = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { Glibc.close(fd) }

    convenience init(connectingTo address: SocketAddress, receiveBuffer: Int32? = nil) throws {
        let fd = socket(address.family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        if let receiveBuffer { _ = Socket.set(fd, SOL_SOCKET, SO_RCVBUF, receiveBuffer) }
        guard address.withSockaddr({ connect(fd, $0, $1) }) == 0 else {
            let error = SystemError.last("connect")
            Glibc.close(fd)
            throw error
        }
        self.init(fd: fd)
    }

    func send(_ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count {
            let n = bytes[sent...].withUnsafeBytes {
                Glibc.send(fd, $0.baseAddress, $0.count, Int32(0x4000 /* MSG_NOSIGNAL */))
            }
            if n < 0 { throw SystemError.last("send") }
            sent += n
        }
    }

    func send(_ text: String) throws { try send(Array(text.utf8)) }

    /// Up to `count` bytes; empty at end of file.
    func receive(upTo count: Int = 65536) throws -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: count)
        let n = recv(fd, &buffer, count, 0)
        if n < 0 { throw SystemError.last("recv") }
        return Array(buffer.prefix(n))
    }

    /// Exactly `count` bytes, or fewer when end of file comes before.
    func receive(exactly count: Int) throws -> [UInt8] {
        var all: [UInt8] = []
        while all.count < count {
            let part = try receive(upTo: min(65536, count - all.count))
            if part.isEmpty { break }
            all += part
        }
        return all
    }

    func receiveToEnd() throws -> [UInt8] { try receive(exactly: .max) }

    func finishOutput() { shutdown(fd, Int32(SHUT_WR)) }

    /// Closes with RST.
    func reset() {
        var linger = linger(l_onoff: 1, l_linger: 0)
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<Glibc.linger>.size))
        // The descriptor stays taken until deinit closes it, so that its number is not reused meanwhile.
        dup2(open("/dev/null", O_RDONLY | O_CLOEXEC), fd)
    }

    /// Whether nothing arrives within the time: to show that something does not happen.
    func isSilent(forMilliseconds milliseconds: Int32) -> Bool {
        var entry = pollfd(fd: fd, events: Int16(POLLIN), revents: 0)
        return poll(&entry, 1, milliseconds) == 0
    }
}

/// What happened to a connection, in order.
enum Happening: Hashable, Sendable {
    case received([UInt8])
    case inputEnding
    case inputEnded
    case becameWritable
    case flushed
    case closed(CloseReason)
}

/// A connection that records what it is told, and does what a test says.
final class RecordingConnection: Connection {
    let recorder: Recorder<Happening>
    var onReceived: ((RecordingConnection, [UInt8]) -> Void)?
    var onInputEnded: ((RecordingConnection) -> Void)?
    var recordsData = true

    init(
        _ loop: EventLoop, fd: Int32, _ recorder: Recorder<Happening>,
        _ configuration: ConnectionConfiguration = .init()
    ) {
        self.recorder = recorder
        super.init(loop, fd: fd, configuration: configuration)
    }

    override func received(_ bytes: RawSpan) {
        let copy = bytes.withUnsafeBytes { Array($0) }
        if recordsData { recorder.record(.received(copy)) }
        onReceived?(self, copy)
    }

    override func inputEnded() {
        recorder.record(.inputEnded)
        if let onInputEnded { onInputEnded(self) } else { super.inputEnded() }
    }

    override func inputEnding() { recorder.record(.inputEnding) }
    override func becameWritable() { recorder.record(.becameWritable) }
    override func flushed() { recorder.record(.flushed) }
    override func closed(_ reason: CloseReason) { recorder.record(.closed(reason)) }
}

/// A loop with a listener on it; each accepted connection is recorded and set up by the test.
final class TestServer: Sendable {
    let thread: LoopThread
    let address: SocketAddress
    let recorder = Recorder<Happening>()
    /// How often `on`'s connection is found by its order of acceptance.
    let connections = Recorder<ConnectionBox>()

    init(
        _ address: SocketAddress = .ipv4(0x7f00_0001, port: 0), _ configuration: EventLoopConfiguration = .init(),
        connection: ConnectionConfiguration = .init(), reading: Bool = true,
        setUp: @escaping @Sendable (RecordingConnection) -> Void = { _ in }
    ) throws {
        let fd = try Socket.listen(address, backlog: 1024)
        self.address = Socket.localAddress(of: fd)!
        thread = try LoopThread(configuration)
        let recorder = recorder
        let connections = connections
        _ = try thread.on { loop in
            let listener = Listener(loop, fd: fd) { fd in
                let accepted = RecordingConnection(loop, fd: fd, recorder, connection)
                setUp(accepted)
                accepted.start(reading: reading)
                connections.record(ConnectionBox(accepted))
            }
            listener.resume()
        }
    }

    /// Runs `body` on the loop with the first connection accepted.
    func first<Value: Sendable>(_ body: @escaping @Sendable (RecordingConnection) -> Value) throws -> Value {
        let box = try connections.wait { !$0.isEmpty }[0]
        return try thread.on { _ in body(box.connection) }
    }

    func join() throws { try thread.join() }
}

/// Carries a connection between threads.
// Sendable: the connection inside is touched on its loop's thread only.
struct ConnectionBox: @unchecked Sendable {
    let connection: RecordingConnection
    init(_ connection: RecordingConnection) { self.connection = connection }
}

/// Repeatable bytes that differ at every position, so that a swap or a gap shows.
func pattern(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
    var state = seed &* 0x9e37_79b9_7f4a_7c15 | 1
    return (0..<count).map { _ in
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return UInt8(truncatingIfNeeded: state >> 24)
    }
}

extension SocketAddress {
    static let anyLoopback = SocketAddress.ipv4(0x7f00_0001, port: 0)
    static let anyLoopbackV6 = SocketAddress.ipv6(high: 0, low: 1, port: 0, scope: 0)
    static func temporaryUnix() -> SocketAddress {
        .unix(path: "/tmp/ringmaster-test-\(getpid())-\(UInt32.random(in: 0 ... .max)).sock")
    }
}
