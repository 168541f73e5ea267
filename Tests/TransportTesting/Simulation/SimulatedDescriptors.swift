import CSocket
import Glibc

@testable import Transport

/// A descriptor and which socket it stands for, so that it is told from another with the same number.
struct SimulatedDescriptor {
    let fd: Int32
    private let inode: ino_t

    init(_ fd: Int32) {
        self.fd = fd
        inode = Self.inode(of: fd)
    }

    private static func inode(of fd: Int32) -> ino_t {
        var status = stat()
        return fstat(fd, &status) == 0 ? status.st_ino : 0
    }

    var isOpen: Bool { Self.inode(of: fd) == inode }
}

/// A connected pair of real sockets under a simulated connection. No byte of the simulation flows through them; they are
/// there for the calls that channels make themselves: shutdown, close, and questions about address, family and error.
final class SimulatedDescriptors {
    let near: SimulatedDescriptor
    private var far: Int32
    private let isUnix: Bool

    /// Looks at a socket, of which the first should do: over loopback a packet has arrived when the call that sent it returns.
    static let looksMax = 100_000

    /// Takes over the peer's end. The channel that is given the near end closes it.
    init(near: Int32, far: Int32) {
        self.near = SimulatedDescriptor(near)
        self.far = far
        isUnix = Socket.family(of: near) == AF_UNIX
        if isUnix {
            // A Unix-domain peer that closes with something unread resets (unix_release_sock()).
            send(near, [0], 1, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
        } else {
            // Ends with RST, which leaves nothing in TIME_WAIT.
            var linger = linger(l_onoff: 1, l_linger: 0)
            setsockopt(far, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<linger>.size))
        }
    }

    deinit { closeFar() }

    static func unixPair() -> SimulatedDescriptors {
        var pair: [Int32] = [-1, -1]
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        precondition(socketpair(AF_UNIX, type, 0, &pair) == 0, "no descriptor left for the simulation")
        return SimulatedDescriptors(near: pair[0], far: pair[1])
    }

    /// Whether the channel has sent FIN. Only while it is open.
    var isShutDown: Bool {
        if isUnix {
            var peer = pollfd(fd: far, events: Int16(truncatingIfNeeded: CSOCKET_POLLRDHUP), revents: 0)
            return poll(&peer, 1, 0) == 1 && Int(peer.revents) & Int(CSOCKET_POLLRDHUP) != 0
        }
        return [TCPState.finWait1.rawValue, TCPState.finWait2.rawValue].contains(tcpState)
    }

    private var tcpState: UInt8 {
        // The first byte of tcp_info.
        var state: UInt8 = 0
        var length: socklen_t = 1
        return getsockopt(near.fd, Int32(IPPROTO_TCP), TCP_INFO, &state, &length) == 0 ? state : 0
    }

    /// The peer resets; the error waits at the near end when this returns, if that is open.
    func reset() {
        closeFar()
        guard !isUnix, near.isOpen else { return }
        for _ in 0..<Self.looksMax {
            if tcpState == TCPState.closed.rawValue { return }
            sched_yield()
        }
    }

    func closeFar() {
        if far >= 0 { close(far) }
        far = -1
    }
}
