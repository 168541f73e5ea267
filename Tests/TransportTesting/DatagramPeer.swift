import Foundation
import Testing

@testable import Transport

/// The other side of a datagram channel under test: plain blocking system calls.
final class DatagramPeer: Sendable {
    let fd: Int32
    let address: SocketAddress

    /// Bound to `address`.
    init(_ address: SocketAddress = .anyLoopback, reuseAddress: Bool = false) throws {
        let fd = socket(address.family, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard fd >= 0 else { throw SystemError.last("socket") }
        if reuseAddress { _ = Socket.set(fd, SOL_SOCKET, SO_REUSEADDR, 1) }
        var timeout = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
        guard address.withSockaddr({ bind(fd, $0, $1) }) == 0 else {
            let error = SystemError.last("bind")
            close(fd)
            throw error
        }
        self.fd = fd
        self.address = Socket.localAddress(of: fd) ?? address
    }

    deinit {
        if case .unix(let path) = address { unlink(path) }
        close(fd)
    }

    func send(_ bytes: [UInt8], to address: SocketAddress) throws {
        let n = address.withSockaddr { sendto(fd, bytes, bytes.count, 0, $0, $1) }
        if n < 0 { throw SystemError.last("sendto") }
        #expect(n == bytes.count)
    }

    /// The next datagram.
    func receive() throws -> [UInt8] { try receiveWithSender().bytes }

    /// The next datagram, and who sent it.
    func receiveWithSender() throws -> (bytes: [UInt8], sender: SocketAddress?) {
        var buffer = [UInt8](repeating: 0, count: 65536)
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        return try withUnsafeMutablePointer(to: &storage) { pointer in
            try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { name in
                var n = -1
                repeat { n = recvfrom(fd, &buffer, buffer.count, 0, name, &length) } while n < 0 && errno == EINTR
                if n < 0 { throw SystemError.last("recvfrom") }
                return (Array(buffer.prefix(n)), SocketAddress(name, length: length))
            }
        }
    }

    /// Whether a datagram waits to be received.
    var hasDatagram: Bool {
        var byte: UInt8 = 0
        return recv(fd, &byte, 1, Int32(MSG_DONTWAIT) | Int32(MSG_PEEK)) >= 0
    }
}
