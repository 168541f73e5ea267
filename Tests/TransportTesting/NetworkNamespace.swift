import Foundation

@testable import Transport

/// Network namespaces, for tests that change what a whole machine has only once, such as a sysctl or an interface.
enum NetworkNamespace {
    /// Why this process cannot have one; nil when it can.
    static let obstacle: String? = {
        do {
            try run { try set(sysctl: "net/ipv4/tcp_fastopen", to: "3") }
            return nil
        } catch {
            return "no network namespace to change: \(error)"
        }
    }()

    /// Runs `body` on a thread that sees nothing but a loopback interface; the threads it starts see the same.
    static func run<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) throws -> Value {
        let outcome = Recorder<Result<Value, any Error>>()
        Thread.detachNewThread {
            outcome.record(
                Result {
                    try enter()
                    return try body()
                })
        }
        return try outcome.next(within: 60).get()
    }

    /// Sets a sysctl of the calling thread's namespace, such as `net/ipv4/tcp_fastopen`.
    static func set(sysctl: String, to value: String) throws {
        let fd = open("/proc/sys/\(sysctl)", O_WRONLY)
        guard fd >= 0 else { throw SystemError.last("open(\(sysctl))") }
        defer { close(fd) }
        guard write(fd, value, value.utf8.count) == value.utf8.count else { throw SystemError.last("write(\(sysctl))") }
    }

    private static func enter() throws {
        // Behind _GNU_SOURCE, which Swift's Glibc module does not define.
        typealias Unshare = @convention(c) (Int32) -> Int32
        let cloneNewNet: Int32 = 0x4000_0000
        guard let symbol = dlsym(nil, "unshare") else { throw SystemError("dlsym", code: ENOSYS) }
        guard unsafeBitCast(symbol, to: Unshare.self)(cloneNewNet) == 0 else { throw SystemError.last("unshare") }
        try bringLoopbackUp()
    }

    private static func bringLoopbackUp() throws {
        let fd = try Socket.stream(AF_INET)
        defer { close(fd) }
        // struct ifreq (netdevice(7)): 16 bytes of name, then a union that begins with the flags.
        var request = [UInt8](repeating: 0, count: 40)
        request.replaceSubrange(0..<2, with: Array("lo".utf8))
        let flags = UInt16(IFF_UP)
        request[16] = UInt8(truncatingIfNeeded: flags)
        request[17] = UInt8(truncatingIfNeeded: flags >> 8)
        guard ioctl(fd, UInt(SIOCSIFFLAGS), &request) == 0 else { throw SystemError.last("ioctl(SIOCSIFFLAGS)") }
    }
}
