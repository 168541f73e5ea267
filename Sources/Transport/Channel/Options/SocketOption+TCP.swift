import Glibc

// Options of TCP sockets (tcp(7)). Others answer EOPNOTSUPP or ENOPROTOOPT.

extension SocketOption where Value == Bool {
    /// TCP_NODELAY: send small segments at once instead of waiting for acknowledgements.
    public static var noDelay: Self { Self("TCP_NODELAY", .tcp(TCP_NODELAY), .flag) }

    /// TCP_CORK: send full segments only, until it is taken off or 200 ms have passed.
    public static var cork: Self { Self("TCP_CORK", .tcp(TCP_CORK), .flag) }

    /// TCP_QUICKACK: acknowledge at once, or (false) together with data. The kernel goes back to its own choice as the
    /// connection goes on: it is no lasting setting.
    public static var quickAcknowledge: Self { Self("TCP_QUICKACK", .tcp(TCP_QUICKACK), .flag) }

    /// TCP_FASTOPEN_CONNECT: connecting succeeds at once where the server's cookie is known, and the first bytes sent
    /// leave with the SYN, none before; a refusal is then told by that send. Set before connecting (Linux 4.11). Needs
    /// ``TCPFastOpen/client``; only for data that may arrive twice (RFC 7413, 2.1). With
    /// ``ConnectorConfiguration/fastOpenData`` connecting tells the truth.
    public static var fastOpenConnect: Self { Self("TCP_FASTOPEN_CONNECT", .tcp(TCP_FASTOPEN_CONNECT), .flag) }
}

extension SocketOption where Value == Int {
    /// TCP_KEEPCNT: probes that go unanswered before the connection fails with ETIMEDOUT, 1 to 127.
    public static var keepAliveCount: Self { Self("TCP_KEEPCNT", .tcp(TCP_KEEPCNT), .int) }

    /// TCP_NOTSENT_LOWAT: unsent bytes in the kernel above which the socket is not writable, 0 to 4,294,967,295. 0 is
    /// the default of `net.ipv4.tcp_notsent_lowat`.
    public static var notSentLowWaterMark: Self {
        Self("TCP_NOTSENT_LOWAT", .tcp(TCP_NOTSENT_LOWAT), .unsigned)
    }

    /// TCP_FASTOPEN on a listener: connections begun with data in the SYN and not yet acknowledged, at most; 0 is off.
    /// Has effect with ``TCPFastOpen/server`` only.
    public static var fastOpen: Self { Self("TCP_FASTOPEN", .tcp(TCP_FASTOPEN), .int) }

    /// TCP_MAXSEG: the largest segment in bytes, 88 to 32,767, as announced when connecting. Reading tells the present one.
    public static var segmentSizeMax: Self { Self("TCP_MAXSEG", .tcp(TCP_MAXSEG), .int) }
}

extension SocketOption where Value == Duration {
    /// TCP_KEEPIDLE: silence before the first probe, in whole seconds, rounded up; 1 to 32,767.
    public static var keepAliveIdle: Self { Self("TCP_KEEPIDLE", .tcp(TCP_KEEPIDLE), .duration(perSecond: 1)) }

    /// TCP_KEEPINTVL: between two probes, in whole seconds, rounded up; 1 to 32,767.
    public static var keepAliveInterval: Self { Self("TCP_KEEPINTVL", .tcp(TCP_KEEPINTVL), .duration(perSecond: 1)) }

    /// TCP_USER_TIMEOUT: how long sent data may go unacknowledged before the connection fails with ETIMEDOUT, in
    /// milliseconds, rounded up; 0 is the kernel's default. It outranks the keep-alive probes (tcp(7)).
    public static var userTimeout: Self {
        Self("TCP_USER_TIMEOUT", .tcp(TCP_USER_TIMEOUT), .duration(perSecond: 1000))
    }

    /// TCP_DEFER_ACCEPT on a listener: accept a connection when its first bytes have come, or when about so long has
    /// passed; in whole seconds, rounded up, and further by the kernel to its times of retransmission. 0 is off.
    public static var deferAccept: Self { Self("TCP_DEFER_ACCEPT", .tcp(TCP_DEFER_ACCEPT), .duration(perSecond: 1)) }
}

extension SocketOption where Value == String {
    /// TCP_CONGESTION: the congestion control, such as `cubic` or `bbr`. ENOENT when the kernel has none of that name,
    /// EPERM when it is not in `net.ipv4.tcp_allowed_congestion_control`.
    public static var congestionControl: Self {
        Self("TCP_CONGESTION", .tcp(TCP_CONGESTION), .name(capacity: tcpCongestionNameCapacity))
    }
}

/// TCP_CA_NAME_MAX of `linux/tcp.h`, the terminating zero included.
private let tcpCongestionNameCapacity = 16
