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

    /// Repeats a call that a signal has interrupted, such as the SIGCHLD of a test in a process of its own.
    private static func retrying(_ call: () -> Int) -> Int {
        while true {
            let result = call()
            if result >= 0 || errno != EINTR { return result }
        }
    }

    convenience init(connectingTo address: SocketAddress, receiveBuffer: Int32? = nil) throws {
        let fd = socket(address.family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        if let receiveBuffer { _ = Socket.set(fd, SOL_SOCKET, SO_RCVBUF, receiveBuffer) }
        guard address.withSockaddr({ address, length in Self.retrying { Int(connect(fd, address, length)) } }) == 0
        else {
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
                let part = $0
                return Self.retrying { Glibc.send(fd, part.baseAddress, part.count, Int32(MSG_NOSIGNAL)) }
            }
            if n < 0 { throw SystemError.last("send") }
            sent += n
        }
    }

    func send(_ text: String) throws { try send(Array(text.utf8)) }

    /// Up to `count` bytes; empty at end of file.
    func receive(upTo count: Int = 65536) throws -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: count)
        let n = Self.retrying { recv(fd, &buffer, count, 0) }
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

    /// Closes a TCP connection with RST.
    func reset() {
        var linger = linger(l_onoff: 1, l_linger: 0)
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<Glibc.linger>.size))
        close()
    }

    /// Closes the socket. The descriptor stays taken until deinit, so that its number is not reused meanwhile.
    func close() {
        let nothing = open("/dev/null", O_RDONLY | O_CLOEXEC)
        dup2(nothing, fd)
        _ = fcntl(fd, F_SETFD, FD_CLOEXEC)
        Glibc.close(nothing)
    }

    /// The errno that ends the next receive; nil when bytes or end of file come instead.
    func receiveError() -> Int32? {
        do {
            _ = try receive()
            return nil
        } catch {
            return (error as? SystemError)?.code
        }
    }

    /// Neither bytes nor the end of the stream have come.
    var hasNothingToReceive: Bool {
        var byte: UInt8 = 0
        return recv(fd, &byte, 1, Int32(MSG_DONTWAIT) | Int32(MSG_PEEK)) < 0 && errno == EAGAIN
    }

    /// What the kernel still holds for this side to read, in bytes (FIONREAD).
    static func unreadBytes(_ fd: Int32) -> Int32 {
        var count: Int32 = 0
        return ioctl(fd, UInt(FIONREAD), &count) == 0 ? count : -1
    }
}
