import Glibc

/// What this network namespace allows of TCP Fast Open (RFC 7413): the sysctl `net.ipv4.tcp_fastopen`, for IPv6 too.
public struct TCPFastOpen: OptionSet, Sendable {
    /// The sysctl's bits (Documentation/networking/ip-sysctl.rst).
    public let rawValue: UInt32

    /// Takes the sysctl's bits.
    public init(rawValue: UInt32) {
        self.rawValue = rawValue
    }

    /// Connecting with data. The kernel's default.
    public static let client = TCPFastOpen(rawValue: 0x1)
    /// Accepting data with the SYN, on listeners that ask for it (``ListenerConfiguration/fastOpenQueueLength``).
    public static let server = TCPFastOpen(rawValue: 0x2)

    /// What is allowed now; nothing where the sysctl cannot be read. Reads a file of `/proc`.
    public static var allowed: TCPFastOpen {
        let fd = open("/proc/sys/net/ipv4/tcp_fastopen", O_RDONLY | O_CLOEXEC)
        guard fd >= 0 else { return [] }
        defer { close(fd) }
        var text = [UInt8](repeating: 0, count: 16)
        let count = read(fd, &text, text.count)
        let digits = text.prefix(max(0, count)).prefix { $0 != UInt8(ascii: "\n") }
        return TCPFastOpen(rawValue: UInt32(String(decoding: digits, as: UTF8.self)) ?? 0)
    }
}
