import Glibc

/// How to listen. What concerns IP or TCP is left alone on a Unix-domain socket, and ``v6Only`` on an IPv4 one, so that one
/// configuration serves a list of addresses.
public struct ListenerConfiguration: Sendable {
    /// Connections that the kernel holds until they are accepted, 0 or more; it cuts this to `net.core.somaxconn`.
    public var backlog: Int32 = 4096
    /// ``SocketOption/reuseAddress``: listen again at once after a restart.
    public var reuseAddress = true
    /// ``SocketOption/reusePort``: several listeners on one port, the kernel spreading connections over them.
    public var reusePort = false
    /// ``SocketOption/deferAccept``: accept when the first bytes have come; nil: accept at once.
    public var deferAccept: Duration?
    /// ``SocketOption/fastOpen``: accept data with the SYN, for as many unfinished connections; nil: do not.
    public var fastOpenQueueLength: Int?
    /// ``SocketOption/freeBind``: listen on an address that this machine does not have, yet.
    public var freeBind = false
    /// ``SocketOption/transparent``: take connections to foreign addresses that the firewall directs here.
    public var transparent = false
    /// ``SocketOption/v6Only``: `::` without IPv4; nil: as `net.ipv6.bindv6only` says.
    public var v6Only: Bool?
    /// Other options, set before binding. Accepted sockets inherit most (buffer sizes, keep-alive, TCP_NODELAY).
    public var options: [SocketOptionSetting] = []

    /// The defaults: a backlog of 4096, the port reusable at once, nothing else.
    public init() {}

    /// All options that matter for a socket of `family`, in the order to set them.
    fileprivate func settings(for family: Int32) -> [SocketOptionSetting] {
        guard family != AF_UNIX else { return options }
        var settings = [SocketOptionSetting(.reuseAddress, reuseAddress)]
        if reusePort { settings.append(.init(.reusePort, true)) }
        if let deferAccept { settings.append(.init(.deferAccept, deferAccept)) }
        if let fastOpenQueueLength { settings.append(.init(.fastOpen, fastOpenQueueLength)) }
        if freeBind { settings.append(.init(.freeBind, true)) }
        if transparent { settings.append(.init(.transparent, true)) }
        if let v6Only, family == AF_INET6 { settings.append(.init(.v6Only, v6Only)) }
        return settings + options
    }
}

extension Socket {
    /// A bound, listening stream socket for a ``Listener``. A Unix-domain path must not exist yet, and is given the mode that
    /// umask(2) leaves.
    ///
    /// - Throws: the failed call: `socket`, `setsockopt(…)`, `bind` (EADDRINUSE, EACCES, EADDRNOTAVAIL; ENAMETOOLONG
    ///   for a path of more than ``SocketAddress/unixPathLengthMax`` bytes) or `listen` (EADDRINUSE).
    public static func listen(
        _ address: SocketAddress, _ configuration: ListenerConfiguration
    ) throws(SystemError) -> Int32 {
        precondition(configuration.backlog >= 0, "a backlog is not negative")
        let fd = try stream(address.family)
        do throws(SystemError) {
            try apply(configuration.settings(for: address.family), to: fd)
            try bind(fd, to: address)
            if Glibc.listen(fd, configuration.backlog) < 0 { throw .last("listen") }
            return fd
        } catch {
            close(fd)
            throw error
        }
    }

    /// As ``listen(_:_:)`` with the defaults but for the backlog.
    public static func listen(_ address: SocketAddress, backlog: Int32) throws(SystemError) -> Int32 {
        var configuration = ListenerConfiguration()
        configuration.backlog = backlog
        return try listen(address, configuration)
    }
}
