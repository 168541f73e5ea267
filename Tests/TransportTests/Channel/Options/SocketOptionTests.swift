import Glibc
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Socket options")
struct SocketOptionTests {
    /// A kind of socket to try an option on.
    enum Kind: CaseIterable {
        case tcp4, tcp6, udp4, udp6, unix

        static let tcp: [Kind] = [.tcp4, .tcp6]
        static let udp: [Kind] = [.udp4, .udp6]

        func open() throws -> Int32 {
            let family = [.tcp4, .udp4].contains(self) ? AF_INET : self == .unix ? AF_UNIX : AF_INET6
            let type = Self.udp.contains(self) ? SOCK_DGRAM : SOCK_STREAM
            return try SystemError.check(
                socket(family, Int32(type.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0), "socket")
        }
    }

    /// An option with values to set; `reads` tells what the kernel makes of them.
    struct Trial: CustomTestStringConvertible, Sendable {
        let testDescription: String
        let kinds: [Kind]
        let run: @Sendable (Int32) throws -> Void

        init<Value: Equatable>(
            _ option: SocketOption<Value>, _ values: [Value], on kinds: [Kind],
            reads: @escaping @Sendable (Value) -> Value = { $0 }
        ) {
            testDescription = option.name
            self.kinds = kinds
            run = { fd in
                for value in values {
                    try Socket.set(option, value, of: fd)
                    #expect(try Socket.get(option, of: fd) == reads(value), "\(option.name) = \(value)")
                }
            }
        }
    }

    static let trials: [Trial] = [
        Trial(.keepAlive, [true, false], on: Kind.allCases),
        Trial(.reuseAddress, [true, false], on: Kind.allCases),
        Trial(.reusePort, [true, false], on: Kind.tcp + Kind.udp),
        Trial(.broadcast, [true, false], on: Kind.udp),
        Trial(.sendBufferSize, [16384, 65536], on: Kind.allCases, reads: { 2 * $0 }),
        Trial(.receiveBufferSize, [16384, 65536], on: Kind.allCases, reads: { 2 * $0 }),
        Trial(.priority, [6, 0], on: Kind.allCases),
        Trial(.busyPoll, [.zero], on: Kind.tcp + Kind.udp),
        Trial(.linger, [.zero, nil], on: Kind.tcp + Kind.udp),
        Trial(.noDelay, [true, false], on: Kind.tcp),
        Trial(.cork, [true, false], on: Kind.tcp),
        Trial(.quickAcknowledge, [false, true], on: Kind.tcp),
        Trial(.fastOpenConnect, [true, false], on: Kind.tcp),
        Trial(.keepAliveCount, [1, 127], on: Kind.tcp),
        Trial(.keepAliveIdle, [.seconds(1), .seconds(32767)], on: Kind.tcp),
        Trial(.keepAliveInterval, [.seconds(1), .seconds(32767)], on: Kind.tcp),
        Trial(.notSentLowWaterMark, [16384, 4_294_967_295, 0], on: Kind.tcp),
        Trial(.userTimeout, [.milliseconds(1500), .seconds(2_000_000), .zero], on: Kind.tcp),
        Trial(.congestionControl, ["reno"], on: Kind.tcp),
        Trial(.segmentSizeMax, [1000], on: Kind.tcp),
        Trial(.typeOfService, [0x28, 0xb8, 0], on: Kind.tcp + Kind.udp),
        Trial(.timeToLive, [1, 255], on: Kind.tcp + Kind.udp),
        Trial(.freeBind, [true, false], on: Kind.tcp + Kind.udp),
        Trial(.bindAddressNoPort, [true, false], on: Kind.tcp + Kind.udp),
        Trial(.v6Only, [true, false], on: [.tcp6, .udp6]),
        Trial(.multicastTimeToLive, [0, 255, 1], on: Kind.udp),
        Trial(.multicastLoopback, [false, true], on: Kind.udp),
        Trial(.multicastAll, [false, true], on: Kind.udp),
        Trial(.raw(level: SOL_SOCKET, name: SO_RCVLOWAT), [100, 1], on: Kind.tcp + Kind.udp),
        Trial(.rawBytes(level: SOL_SOCKET, name: SO_PRIORITY, capacity: 4), [[3, 0, 0, 0]], on: Kind.allCases),
    ]

    @Test("what is set is read back, on every kind of socket that has the option (netty 66)", arguments: trials)
    func roundTrip(trial: Trial) throws {
        for kind in trial.kinds {
            let fd = try kind.open()
            defer { close(fd) }
            try trial.run(fd)
        }
    }

    @Test("transparent is set and read back by who may, and EPERM for others")
    func transparent() throws {
        for kind in Kind.tcp + Kind.udp {
            let fd = try kind.open()
            defer { close(fd) }
            do {
                try Socket.set(.transparent, true, of: fd)
                #expect(try Socket.get(.transparent, of: fd))
            } catch {
                #expect(error == SystemError("setsockopt(IP_TRANSPARENT)", code: EPERM))
            }
        }
    }

    @Test("a listener's options hold on it: the fast open queue as set, deferring rounded up by the kernel")
    func listening() throws {
        for kind in Kind.tcp {
            let fd = try kind.open()
            defer { close(fd) }
            try #require(Glibc.listen(fd, 8) == 0)
            try Socket.set(.fastOpen, 5, of: fd)
            #expect(try Socket.get(.fastOpen, of: fd) == 5)
            try Socket.set(.deferAccept, .seconds(5), of: fd)
            let deferred = try Socket.get(.deferAccept, of: fd)
            #expect(deferred >= .seconds(5) && deferred <= .seconds(10))
            try Socket.set(.deferAccept, .zero, of: fd)
            #expect(try Socket.get(.deferAccept, of: fd) == .zero)
        }
    }

    @Test("a device is bound to and left again by its name; one that is not there is ENODEV")
    func device() throws {
        let fd = try Kind.udp4.open()
        defer { close(fd) }
        #expect(try Socket.get(.bindToDevice, of: fd) == "")
        try Socket.set(.bindToDevice, "lo", of: fd)
        #expect(try Socket.get(.bindToDevice, of: fd) == "lo")
        #expect(throws: SystemError("setsockopt(SO_BINDTODEVICE)", code: ENODEV)) {
            try Socket.set(.bindToDevice, "no-such-device", of: fd)
        }
    }

    @Test("on an IPv6 socket the type of service and the time to live hold for IPv4-mapped peers too")
    func mappedPeers() throws {
        let fd = try Kind.udp6.open()
        defer { close(fd) }
        try Socket.set(.typeOfService, 0x28, of: fd)
        try Socket.set(.timeToLive, 9, of: fd)
        #expect(try Socket.get(.raw(level: Int32(IPPROTO_IP), name: IP_TOS), of: fd) == 0x28)
        #expect(try Socket.get(.raw(level: Int32(IPPROTO_IP), name: IP_TTL), of: fd) == 9)
        #expect(try Socket.get(.raw(level: Int32(IPPROTO_IPV6), name: IPV6_TCLASS), of: fd) == 0x28)
        #expect(try Socket.get(.raw(level: Int32(IPPROTO_IPV6), name: IPV6_UNICAST_HOPS), of: fd) == 9)
    }

    @Test("times are rounded up to the option's unit, never down to none")
    func rounding() throws {
        let fd = try Kind.tcp4.open()
        defer { close(fd) }
        try Socket.set(.keepAliveIdle, .milliseconds(1), of: fd)
        #expect(try Socket.get(.keepAliveIdle, of: fd) == .seconds(1))
        try Socket.set(.keepAliveIdle, .milliseconds(2001), of: fd)
        #expect(try Socket.get(.keepAliveIdle, of: fd) == .seconds(3))
        try Socket.set(.userTimeout, .nanoseconds(1_000_001), of: fd)
        #expect(try Socket.get(.userTimeout, of: fd) == .milliseconds(2))
    }

    @Test("a value that the kernel's type cannot hold is EINVAL, and nothing is set")
    func outOfRange() throws {
        let fd = try Kind.tcp4.open()
        defer { close(fd) }
        func expectRefused<Value>(_ option: SocketOption<Value>, _ value: Value) {
            #expect(throws: SystemError("setsockopt(\(option.name))", code: EINVAL)) {
                try Socket.set(option, value, of: fd)
            }
        }
        let before = try Socket.get(.userTimeout, of: fd)
        expectRefused(.userTimeout, .milliseconds(-1))
        expectRefused(.userTimeout, .seconds(3_000_000))
        expectRefused(.userTimeout, .seconds(Int64.max))
        #expect(try Socket.get(.userTimeout, of: fd) == before)
        expectRefused(.sendBufferSize, Int(Int32.max) + 1)
        expectRefused(.notSentLowWaterMark, -1)
        expectRefused(.congestionControl, String(repeating: "x", count: 16))
        expectRefused(.congestionControl, "re\0no")
        expectRefused(.rawBytes(level: SOL_SOCKET, name: SO_PRIORITY, capacity: 4), [0, 0, 0, 0, 0])
    }

    @Test("lingering in close(2), which would block the loop, is refused")
    func lingering() throws {
        let fd = try Kind.tcp4.open()
        defer { close(fd) }
        #expect(throws: SystemError("setsockopt(SO_LINGER)", code: EINVAL)) {
            try Socket.set(.linger, .seconds(1), of: fd)
        }
        #expect(try Socket.get(.linger, of: fd) == nil)
    }

    @Test("an option that the socket has not is refused, and the error names it")
    func notThere() throws {
        let fd = try Kind.unix.open()
        defer { close(fd) }
        #expect(throws: SystemError("setsockopt(TCP_NODELAY)", code: EOPNOTSUPP)) {
            try Socket.set(.noDelay, true, of: fd)
        }
        #expect(throws: SystemError("getsockopt(TCP_NODELAY)", code: EOPNOTSUPP)) { try Socket.get(.noDelay, of: fd) }
        #expect(throws: SystemError("getsockopt(level 1, option 9999)", code: ENOPROTOOPT)) {
            try Socket.get(.raw(level: SOL_SOCKET, name: 9999), of: fd)
        }
    }

    @Test("an option without a value is no int, and empty as bytes")
    func noValue() throws {
        let fd = try Kind.tcp4.open()
        defer { close(fd) }
        // Bound to no device: the kernel answers with no byte at all.
        #expect(throws: SystemError("getsockopt(level 1, option 25)", code: EINVAL)) {
            try Socket.get(.raw(level: SOL_SOCKET, name: SO_BINDTODEVICE), of: fd)
        }
        #expect(try Socket.get(.rawBytes(level: SOL_SOCKET, name: SO_BINDTODEVICE, capacity: 16), of: fd) == [])
    }
}
