import Foundation
import Transport

/// A stream socket on the client's side. Every call fails after ``patience`` rather than wait for ever.
final class Client {
    let descriptor: Int32
    private var isOpen = true

    /// Connects. `bufferBytes` sets the kernel's buffers in both directions (SO_SNDBUF, SO_RCVBUF), against its tuning.
    init(to address: SocketAddress, bufferBytes: Int32? = nil) throws {
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        descriptor = socket(address.family, type, 0)
        guard descriptor >= 0 else { throw HarnessError.system("socket") }
        if var bytes = bufferBytes {
            setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &bytes, socklen_t(MemoryLayout<Int32>.size))
            setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &bytes, socklen_t(MemoryLayout<Int32>.size))
        }
        try wait(for: "room in the backlog of \(address)") {
            if address.withSockaddr({ Glibc.connect(descriptor, $0, $1) }) == 0 { return true }
            switch errno {
            case EINPROGRESS, EALREADY: return try finishConnecting(to: address)
            // connect(2): a Unix-domain listener's backlog is full.
            case EAGAIN: return false
            default: throw HarnessError.system("connect to \(address)")
            }
        }
    }

    deinit {
        close()
    }

    private func finishConnecting(to address: SocketAddress) throws -> Bool {
        try waitUntilReady(Int16(POLLOUT))
        var failure: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &failure, &length)
        guard failure == 0 else {
            errno = failure
            throw HarnessError.system("connect to \(address)")
        }
        return true
    }

    private func waitUntilReady(_ events: Int16, deadline: MonotonicTime = .now + patience) throws {
        var entry = pollfd(fd: descriptor, events: events, revents: 0)
        let count = Glibc.poll(&entry, 1, deadline.millisecondsLeft)
        guard count != 0 else { throw HarnessError("the socket is stuck: neither data nor room within \(patience)") }
        guard count > 0 || errno == EINTR else { throw HarnessError.system("poll") }
    }

    /// Sends what fits now: the number of bytes, 0 when there is no room.
    func sendSome(_ bytes: UnsafeRawBufferPointer) throws -> Int {
        let count = Glibc.send(descriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
        if count < 0, errno == EAGAIN { return 0 }
        guard count >= 0 else { throw HarnessError.system("send") }
        return count
    }

    /// Receives what is there now: the number of bytes, 0 at the end of the stream, nil when nothing is there.
    func receiveSome(into buffer: UnsafeMutableRawBufferPointer) throws -> Int? {
        let count = Glibc.recv(descriptor, buffer.baseAddress, buffer.count, 0)
        if count < 0, errno == EAGAIN { return nil }
        guard count >= 0 else { throw HarnessError.system("recv") }
        return count
    }

    /// Sends all of `text`.
    func send(_ text: String) throws {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = try rest.withUnsafeBytes { try sendSome($0) }
            if count == 0 { try waitUntilReady(Int16(POLLOUT)) }
            rest = rest.dropFirst(count)
        }
    }

    /// Receives `count` bytes, or fewer when the stream ends first.
    func receive(_ count: Int) throws -> String {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while bytes.count < count {
            let room = min(buffer.count, count - bytes.count)
            let received = try buffer.withUnsafeMutableBytes { try receiveSome(into: .init(rebasing: $0[..<room])) }
            switch received {
            case nil: try waitUntilReady(Int16(POLLIN))
            case 0: return String(decoding: bytes, as: UTF8.self)
            case let count?: bytes += buffer[..<count]
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Whether `text` comes back from an echo.
    func echoes(_ text: String) throws -> Bool {
        try send(text)
        return try receive(text.utf8.count) == text
    }

    /// Whether the stream has ended, by FIN or by RST, once everything that came before is read.
    func hasEnded() -> Bool {
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = Glibc.recv(descriptor, &buffer, buffer.count, 0)
            if count <= 0 { return count == 0 || errno != EAGAIN }
        }
    }

    /// Tells the peer that nothing more will come (FIN).
    func finishSending() throws {
        guard shutdown(descriptor, Int32(SHUT_WR)) == 0 else { throw HarnessError.system("shutdown") }
    }

    func close() {
        if isOpen { Glibc.close(descriptor) }
        isOpen = false
    }

    /// Sends `sent` while it receives, finishes sending and reads to the end. Returns how many of the bytes that came
    /// back are those of `expected`, in order, and how many came back in all.
    func exchange(
        _ sent: UnsafeRawBufferPointer, expecting expected: UnsafeRawBufferPointer
    ) throws -> (matching: Int, received: Int) {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 * 1024, alignment: 16)
        defer { buffer.deallocate() }
        var rest = sent[...]
        var matching = 0
        var received = 0
        if rest.isEmpty { try finishSending() }
        while true {
            try waitUntilReady(Int16(POLLIN) | (rest.isEmpty ? 0 : Int16(POLLOUT)))
            if !rest.isEmpty {
                rest = rest.dropFirst(try sendSome(.init(rebasing: rest)))
                if rest.isEmpty { try finishSending() }
            }
            guard let count = try receiveSome(into: buffer) else { continue }
            if count == 0 { return (matching, received) }
            let isExpected =
                matching == received && received + count <= expected.count
                && memcmp(buffer.baseAddress!, expected.baseAddress! + received, count) == 0
            if isExpected { matching += count }
            received += count
        }
    }
}

extension [Client] {
    func closeAll() {
        for client in self { client.close() }
    }
}
