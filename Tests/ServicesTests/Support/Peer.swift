import Foundation
import Transport

/// A client or an upstream server: plain blocking system calls, sharing no code with what is tested.
final class Peer: Sendable {
    struct Failure: Error, Equatable {
        var call: String
        var code: Int32
    }

    let fd: Int32

    /// Takes over a connected socket.
    init(fd: Int32) {
        self.fd = fd
        setOption(SOL_SOCKET, SO_RCVTIMEO, timeval(tv_sec: 20, tv_usec: 0))
        setOption(SOL_SOCKET, SO_SNDTIMEO, timeval(tv_sec: 20, tv_usec: 0))
        setOption(Int32(IPPROTO_TCP), TCP_NODELAY, Int32(1))
    }

    deinit { close(fd) }

    convenience init(to address: SocketAddress) throws {
        let fd = socket(address.family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard address.withSockaddr({ connect(fd, $0, $1) }) == 0 else {
            defer { close(fd) }
            throw Failure(call: "connect", code: errno)
        }
        self.init(fd: fd)
    }

    func setOption<Value>(_ level: Int32, _ name: Int32, _ value: Value) {
        withUnsafePointer(to: value) { _ = setsockopt(fd, level, name, $0, socklen_t(MemoryLayout<Value>.size)) }
    }

    var localAddress: SocketAddress { Socket.localAddress(of: fd)! }

    func send(_ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count { sent += try send(bytes, from: sent, flags: 0) }
    }

    func send(_ text: String) throws { try send(Array(text.utf8)) }

    private func send(_ bytes: [UInt8], from start: Int, flags: Int32) throws -> Int {
        let count = bytes.withUnsafeBytes { bytes in
            uninterrupted {
                Glibc.send(fd, bytes.baseAddress! + start, bytes.count - start, flags | Int32(MSG_NOSIGNAL))
            }
        }
        if count < 0 { throw Failure(call: "send", code: errno) }
        return count
    }

    /// Sends what the kernels between here and the reader take until it stays at that; returns how many bytes.
    func sendUntilStuck(_ bytes: [UInt8]) throws -> Int {
        var sent = 0
        while sent < bytes.count {
            do {
                sent += try send(bytes, from: sent, flags: Int32(MSG_DONTWAIT))
            } catch let failure as Failure where failure.code == EAGAIN {
                guard isReady(POLLOUT, withinMilliseconds: 100) else { break }
            }
        }
        return sent
    }

    /// Exactly `count` bytes, or fewer when end of file comes before.
    func receive(_ count: Int) throws -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: count)
        var received = 0
        while received < count {
            let number = buffer.withUnsafeMutableBytes { bytes in
                uninterrupted { recv(fd, bytes.baseAddress! + received, count - received, 0) }
            }
            if number < 0 { throw Failure(call: "recv", code: errno) }
            if number == 0 { return Array(buffer[..<received]) }
            received += number
        }
        return buffer
    }

    func receiveText(_ count: Int) throws -> String { String(decoding: try receive(count), as: UTF8.self) }

    /// Whether end of file is what comes next.
    func isAtEnd() throws -> Bool { try receive(1).isEmpty }

    /// Whether what comes next, after any bytes, is the peer's RST.
    func isReset() throws -> Bool {
        do {
            while try !receive(4096).isEmpty {}
            return false
        } catch let failure as Failure {
            guard failure.code == ECONNRESET else { throw failure }
            return true
        }
    }

    /// Whether the connection is over, by FIN or by RST, without another byte.
    func isEnded() throws -> Bool {
        do {
            return try isAtEnd()
        } catch let failure as Failure where failure.code == ECONNRESET {
            return true
        }
    }

    func finishOutput() { shutdown(fd, Int32(SHUT_WR)) }

    /// Sends RST, whatever other copies of the socket there are.
    func reset() {
        var address = sockaddr()
        connect(fd, &address, socklen_t(MemoryLayout<sockaddr>.size))
    }

    /// Whether nothing arrives within the time: to show that something does not happen.
    func isSilent(forMilliseconds milliseconds: Int32) -> Bool { !isReady(POLLIN, withinMilliseconds: milliseconds) }

    private func isReady(_ events: Int32, withinMilliseconds milliseconds: Int32) -> Bool {
        var entry = pollfd(fd: fd, events: Int16(events), revents: 0)
        return uninterrupted { Int(poll(&entry, 1, milliseconds)) } > 0
    }
}

/// Repeats a call that a signal has interrupted.
func uninterrupted(_ call: () -> Int) -> Int {
    while true {
        let result = call()
        if result >= 0 || errno != EINTR { return result }
    }
}

/// Repeatable bytes without a period, so that a swap or a gap shows; another `seed`, other bytes.
func pattern(_ count: Int, seed: Int) -> [UInt8] {
    Array(PatternSource.bytes[(seed * PatternSource.stride)...].prefix(count))
}

private enum PatternSource {
    static let stride = 4099
    static let countMax = 64 << 20

    /// Made once: random bytes are slow without the optimiser.
    static let bytes = {
        var generator = SplitMix64(seed: 1)
        let count = countMax + 16 * stride
        return [UInt8](unsafeUninitializedCapacity: count + 8) { buffer, initialized in
            let bytes = UnsafeMutableRawBufferPointer(buffer)
            for offset in Swift.stride(from: 0, to: count, by: 8) {
                bytes.storeBytes(of: generator.next(), toByteOffset: offset, as: UInt64.self)
            }
            initialized = count
        }
    }()
}
