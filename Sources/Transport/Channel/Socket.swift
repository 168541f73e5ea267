import Glibc

/// The plain socket calls that channels need, all of them quick and made on the loop's thread.
public enum Socket {
    /// A stream socket, close-on-exec, in blocking mode (the handlers wait, not the descriptor).
    ///
    /// - Parameter protocol: as for socket(2); 0 for the family's own, which is TCP for those of the internet.
    package static func stream(_ family: Int32, protocol: Int32 = 0) throws(SystemError) -> Int32 {
        let fd = socket(family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), `protocol`)
        if fd < 0 { throw .last("socket") }
        return fd
    }

    /// Sends small writes at once instead of waiting for acknowledgements (TCP_NODELAY, tcp(7)). Harmless on other sockets.
    public static func setNoDelay(_ fd: Int32) {
        _ = set(fd, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
    }

    /// setsockopt(2) with an int. Returns whether it worked; errno tells why not.
    static func set(_ fd: Int32, _ level: Int32, _ option: Int32, _ value: Int32) -> Bool {
        withUnsafePointer(to: value) { setsockopt(fd, level, option, $0, socklen_t(MemoryLayout<Int32>.size)) } == 0
    }

    /// AF_INET, AF_INET6 or AF_UNIX (SO_DOMAIN, socket(7)); -1 when `fd` is no socket.
    package static func family(of fd: Int32) -> Int32 {
        var family: Int32 = -1
        var length = socklen_t(MemoryLayout<Int32>.size)
        return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &length) == 0 ? family : -1
    }

    /// Whether `fd` is a TCP socket (SO_PROTOCOL, socket(7)).
    static func isTCP(_ fd: Int32) -> Bool {
        var protocolNumber: Int32 = -1
        var length = socklen_t(MemoryLayout<Int32>.size)
        guard getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocolNumber, &length) == 0 else { return false }
        return protocolNumber == Int32(IPPROTO_TCP)
    }

    /// Takes O_NONBLOCK from a socket, which its former user (epoll, another process) may have set: an older
    /// kernel's ring would tell EAGAIN instead of waiting for a connection (6.18 waits).
    package static func setBlocking(_ fd: Int32) {
        let mode = fcntl(fd, F_GETFL)
        if mode >= 0, mode & O_NONBLOCK != 0 { _ = fcntl(fd, F_SETFL, mode & ~O_NONBLOCK) }
    }

    /// The error that waits at the socket (SO_ERROR), taken from it; nil when there is none.
    static func pendingError(of fd: Int32) -> Int32? {
        var code: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        guard getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &length) == 0, code != 0 else { return nil }
        return code
    }

    /// Dissolves a TCP connection with RST (connect(2) to AF_UNSPEC). Unlike closing with SO_LINGER 0 this works
    /// at once while another process holds a copy of the socket. Does nothing on a Unix-domain socket.
    package static func disconnect(_ fd: Int32) {
        var address = sockaddr()
        address.sa_family = sa_family_t(AF_UNSPEC)
        _ = connect(fd, &address, socklen_t(MemoryLayout<sockaddr>.size))
    }

    /// The local address (getsockname(2)), or nil when there is none.
    public static func localAddress(of fd: Int32) -> SocketAddress? {
        address(fd, getsockname)
    }

    /// The peer's address (getpeername(2)), or nil when there is none any more.
    public static func peerAddress(of fd: Int32) -> SocketAddress? {
        address(fd, getpeername)
    }

    private static func address(
        _ fd: Int32, _ call: (Int32, UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int32
    ) -> SocketAddress? {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        return withUnsafeMutablePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                call(fd, address, &length) == 0 ? SocketAddress(address, length: length) : nil
            }
        }
    }

    /// bind(2), with an error for an address that the kernel could not even be given.
    package static func bind(_ fd: Int32, to address: SocketAddress) throws(SystemError) {
        try address.check(for: "bind")
        if address.withSockaddr({ Glibc.bind(fd, $0, $1) }) < 0 { throw .last("bind") }
    }
}
