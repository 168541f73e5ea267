import Glibc
import Transport

@testable import TransportTesting

/// How a server under test answers.
enum Behaviour: Sendable {
    case echo
    /// Echoes so many bytes and then no more.
    case fallSilent(after: Int)
    /// Keeps what comes, and echoes it so many milliseconds after the first of it.
    case delay(Int)
    /// Answers what another protocol would, and FIN.
    case refuse
    /// Speaks first, as another protocol would, and then echoes.
    case greet
    /// Takes everything and answers nothing.
    case stall
    /// One bit of the byte at this offset of each connection is another.
    case corrupt(at: Int)
    /// The byte at this offset is missing.
    case drop(at: Int)
    /// A byte more than came.
    case add
    /// FIN behind so many bytes.
    case finish(after: Int)
    /// RST behind so many bytes.
    case reset(after: Int)
    /// Sends without end, whatever comes, from the first byte on.
    case flood
}

/// A server on a loop of its own.
final class FaultyServer: Sendable {
    let address: SocketAddress
    private let thread: LoopThread

    init(_ behaviour: Behaviour, _ mode: TransportMode = .epoll) throws {
        let fd = try Socket.listen(.anyLoopback, backlog: 4096)
        address = Socket.localAddress(of: fd)!
        thread = try LoopThread(mode)
        try thread.on { loop -> Void in
            let listener = Listener(loop, fd: fd) { fd in FaultyConnection(loop, fd: fd, behaviour).begin() }
            listener.resume()
        }
    }

    func join() throws { try thread.join() }

    /// An address at which nobody listens.
    static func nobody() throws -> SocketAddress {
        let fd = try Socket.listen(.anyLoopback, backlog: 1)
        defer { close(fd) }
        return Socket.localAddress(of: fd)!
    }
}

private final class FaultyConnection: Connection {
    private let behaviour: Behaviour
    private var offset = 0
    private var kept: [UInt8] = []
    private var timer: LoopTimer?
    private static let floodBytes = [UInt8](repeating: 7, count: 16 * 1024)

    init(_ loop: EventLoop, fd: Int32, _ behaviour: Behaviour) {
        self.behaviour = behaviour
        super.init(loop, fd: fd)
    }

    func begin() {
        start()
        if case .greet = behaviour { say("220 ready\r\n") }
    }

    private func say(_ text: String) { Array(text.utf8).withUnsafeBytes { _ = write($0) } }

    override func received(_ span: RawSpan) {
        var bytes = span.withUnsafeBytes { Array($0) }
        let range = offset..<offset + bytes.count
        offset = range.upperBound
        switch behaviour {
        case .echo, .greet: break
        case .fallSilent(let count): bytes.removeLast(max(0, bytes.count - max(0, count - range.lowerBound)))
        case .delay(let milliseconds): return keep(bytes, milliseconds)
        case .refuse:
            say("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\nServer: another\r\n\r\n")
            return finishOutput()
        case .stall: return
        case .corrupt(let place): if range.contains(place) { bytes[place - range.lowerBound] ^= 0x10 }
        case .drop(let place): if range.contains(place) { bytes.remove(at: place - range.lowerBound) }
        case .add: bytes.append(0)
        case .finish(let count): if offset >= count { return finishOutput() }
        case .reset(let count): if offset >= count { return abort() }
        case .flood: return flood()
        }
        bytes.withUnsafeBytes { _ = write($0) }
        if !isWritable { pauseReading() }
    }

    private func keep(_ bytes: [UInt8], _ milliseconds: Int) {
        kept += bytes
        guard timer == nil else { return }
        timer = LoopTimer(loop) { [unowned self] in
            timer = nil
            kept.withUnsafeBytes { _ = write($0) }
            kept = []
        }
        timer?.arm(after: .milliseconds(milliseconds))
    }

    private func flood() {
        while isWritable, Self.floodBytes.withUnsafeBytes({ write($0) }) {}
    }

    override func becameWritable() {
        if case .flood = behaviour { flood() } else { resumeReading() }
    }
}
