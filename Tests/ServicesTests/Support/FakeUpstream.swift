import Foundation
import Transport

/// A listening socket that a test accepts from by hand.
final class FakeUpstream: Sendable {
    let fd: Int32
    let address: SocketAddress

    init(_ address: SocketAddress = .ipv4(0x7f00_0001, port: 0)) throws {
        fd = try Socket.listen(address, backlog: 128)
        self.address = Socket.localAddress(of: fd)!
    }

    deinit {
        close(fd)
        if case .unix(let path) = address { unlink(path) }
    }

    func accept() throws -> Peer {
        guard hasConnection(withinMilliseconds: 20_000) else {
            throw TimedOut(description: "no connection has reached \(address)")
        }
        return Peer(fd: Glibc.accept(fd, nil, nil))
    }

    func hasConnection(withinMilliseconds milliseconds: Int32 = 0) -> Bool {
        var entry = pollfd(fd: fd, events: Int16(POLLIN), revents: 0)
        return uninterrupted { Int(poll(&entry, 1, milliseconds)) } > 0
    }
}

/// An address of our own where nobody listens: connecting is refused until `open` is called.
final class RefusingUpstream: Sendable {
    private let fd: Int32
    let address: SocketAddress

    init() throws {
        let fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        self.fd = fd
        let bound = SocketAddress.ipv4(0x7f00_0001, port: 0).withSockaddr { bind(fd, $0, $1) }
        guard bound == 0 else { throw Peer.Failure(call: "bind", code: errno) }
        address = Socket.localAddress(of: fd)!
    }

    deinit { close(fd) }

    func open() { listen(fd, 128) }

    func accept() -> Peer { Peer(fd: Glibc.accept(fd, nil, nil)) }
}

/// A listener whose queue is full, so that connecting hangs: the kernel drops each SYN.
final class HangingUpstream: Sendable {
    private let fd: Int32
    private let fillers: [Int32]
    let address: SocketAddress

    init() throws {
        let fd = try Socket.listen(.ipv4(0x7f00_0001, port: 0), backlog: 0)
        let address = Socket.localAddress(of: fd)!
        self.fd = fd
        self.address = address
        // A queue of length 0 holds one connection (inet_csk_reqsk_queue_is_full uses >); one more to be certain.
        fillers = (0..<2).map { _ in
            let flags = SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue
            let filler = socket(AF_INET, Int32(flags), 0)
            _ = address.withSockaddr { connect(filler, $0, $1) }
            return filler
        }
    }

    deinit {
        for filler in fillers { close(filler) }
        close(fd)
    }
}

extension SocketAddress {
    static func temporaryUnix() -> SocketAddress {
        .unix(path: "/tmp/ringmaster-services-\(getpid())-\(UInt32.random(in: 0 ... .max)).sock")
    }
}
