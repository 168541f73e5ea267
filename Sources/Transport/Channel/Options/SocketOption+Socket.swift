import Glibc

// Options of any socket (socket(7)), and those that have no name here.

extension SocketOption where Value == Bool {
    /// SO_KEEPALIVE: probe a peer that is silent. See ``SocketOption/keepAliveIdle``.
    public static var keepAlive: Self { Self("SO_KEEPALIVE", .socket(SO_KEEPALIVE), .flag) }

    /// SO_REUSEADDR: bind although connections of the port's former owner linger in TIME_WAIT. Set before binding.
    public static var reuseAddress: Self { Self("SO_REUSEADDR", .socket(SO_REUSEADDR), .flag) }

    /// SO_REUSEPORT: let other sockets of the same user bind the same port; the kernel spreads connections and
    /// datagrams over them. Set on each of them before binding.
    public static var reusePort: Self { Self("SO_REUSEPORT", .socket(SO_REUSEPORT), .flag) }

    /// SO_BROADCAST: allow datagrams to broadcast addresses, which fail with EACCES without it.
    public static var broadcast: Self { Self("SO_BROADCAST", .socket(SO_BROADCAST), .flag) }
}

extension SocketOption where Value == Int {
    /// SO_SNDBUF: bytes that the kernel keeps of what is sent and not acknowledged, its own overhead included. It doubles
    /// what is set, up to `net.core.wmem_max`, and reading tells the double. Setting it ends the kernel's own tuning.
    public static var sendBufferSize: Self { Self("SO_SNDBUF", .socket(SO_SNDBUF), .int) }

    /// SO_RCVBUF: bytes that the kernel keeps of what is received and not read, its own overhead included. It doubles what is
    /// set, up to `net.core.rmem_max`, and reading tells the double. For TCP to advertise a window of more than 64 KiB
    /// set it before connecting or listening (tcp(7)).
    public static var receiveBufferSize: Self { Self("SO_RCVBUF", .socket(SO_RCVBUF), .int) }

    /// SO_PRIORITY: the queueing class of what is sent, 0 to 6; a higher one needs CAP_NET_ADMIN.
    public static var priority: Self { Self("SO_PRIORITY", .socket(SO_PRIORITY), .int) }
}

extension SocketOption where Value == Duration {
    /// SO_BUSY_POLL: how long a wait for data polls the device's queue, in microseconds, rounded up; 0 is off. More than
    /// the present value needs CAP_NET_ADMIN.
    public static var busyPoll: Self {
        Self("SO_BUSY_POLL", .socket(SO_BUSY_POLL), .duration(perSecond: 1_000_000))
    }
}

extension SocketOption where Value == Duration? {
    /// SO_LINGER: nil (the default) has close(2) return at once and the kernel send what is left; zero drops what is left, and
    /// a TCP peer gets RST. A positive time is refused with EINVAL: close(2) would block for it, O_NONBLOCK or not, and the
    /// loop with it, for no other effect (socket(7)). To know that all has been taken wait for ``Connection/flushed()``.
    public static var linger: Self { Self("SO_LINGER", .socket(SO_LINGER), .linger) }
}

extension SocketOption where Value == String {
    /// SO_BINDTODEVICE: the name of the only interface to receive from and send to; empty for any. Linux 5.7 lets
    /// anybody set it once; changing it needs CAP_NET_RAW. ENODEV when there is no such interface.
    public static var bindToDevice: Self {
        Self("SO_BINDTODEVICE", .socket(SO_BINDTODEVICE), .name(capacity: Int(IFNAMSIZ)))
    }
}

extension SocketOption where Value == Int32 {
    /// Any option whose value is an int, by the numbers of the kernel's headers (`SOL_SOCKET`, `SO_MARK`).
    public static func raw(level: Int32, name: Int32) -> Self {
        Self("level \(level), option \(name)", SocketOptionPlaces(Int(level), name), .int32)
    }
}

extension SocketOption where Value == [UInt8] {
    /// Any option, its value in the kernel's layout.
    ///
    /// - Parameter capacity: the most bytes that are written or read, 1 to 65,536.
    public static func rawBytes(level: Int32, name: Int32, capacity: Int) -> Self {
        precondition((1...65_536).contains(capacity), "an option's value has 1 to 65,536 bytes")
        return Self("level \(level), option \(name)", SocketOptionPlaces(Int(level), name), .bytes(capacity: capacity))
    }
}
