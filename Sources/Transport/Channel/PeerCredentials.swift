import CSocket
import Glibc

/// Which process is at the other end of a Unix-domain stream socket, as the kernel noted it when the connection was
/// made (SO_PEERCRED, unix(7)). It does not follow a socket that is passed on to another process.
public struct PeerCredentials: Hashable, Sendable {
    /// 0 when the process is not visible from this one's PID namespace.
    public var processID: Int32
    /// The effective user id; 65534 when it has no name in this one's user namespace.
    public var userID: UInt32
    /// The effective group id; 65534 when it has no name in this one's user namespace.
    public var groupID: UInt32

    /// Names a process.
    public init(processID: Int32, userID: UInt32, groupID: UInt32) {
        self.processID = processID
        self.userID = userID
        self.groupID = groupID
    }
}

extension Connection {
    /// Who is at the other end of a Unix-domain socket; nil on any other socket, and when it is closed. A system call.
    public var peerCredentials: PeerCredentials? { isReleased ? nil : Socket.peerCredentials(of: fd) }
}

extension Socket {
    /// Who is at the other end of a Unix-domain socket (SO_PEERCRED); nil when it is none, or not connected.
    public static func peerCredentials(of fd: Int32) -> PeerCredentials? {
        var raw = csocket_credentials()
        guard csocket_peer_credentials(fd, &raw) == 0 else { return nil }
        return PeerCredentials(processID: raw.pid, userID: raw.uid, groupID: raw.gid)
    }
}
