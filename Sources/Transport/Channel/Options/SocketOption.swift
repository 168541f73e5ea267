import Glibc

/// One socket option: where the kernel keeps it, and what its value means in Swift.
///
/// The options are static members, so that one writes `try channel.set(.keepAliveIdle, .seconds(30))`. Any that has no
/// member here is reached by ``raw(level:name:)`` or ``rawBytes(level:name:capacity:)``.
public struct SocketOption<Value: Sendable>: Sendable {
    /// Its name in the kernel's headers and man pages, such as `TCP_NODELAY`.
    public let name: String
    let places: SocketOptionPlaces
    let coding: SocketOptionCoding<Value>

    init(_ name: String, _ places: SocketOptionPlaces, _ coding: SocketOptionCoding<Value>) {
        self.name = name
        self.places = places
        self.coding = coding
    }

    /// Reads the option from a socket (getsockopt(2)).
    ///
    /// - Throws: what getsockopt(2) says: ENOPROTOOPT or EOPNOTSUPP for an option that this socket has not; EINVAL also
    ///   for a value that is no `Value`, such as a short one.
    func read(from fd: Int32) throws(SystemError) -> Value {
        let place = places.places(of: fd)[0]
        var bytes = [UInt8](repeating: 0, count: coding.capacity)
        var length = socklen_t(bytes.count)
        guard getsockopt(fd, place.level, place.name, &bytes, &length) == 0 else {
            throw .last("getsockopt(\(name))")
        }
        guard let value = bytes.withUnsafeBytes({ coding.decode(.init(rebasing: $0.prefix(Int(length)))) }) else {
            throw SystemError("getsockopt(\(name))", code: EINVAL)
        }
        return value
    }
}

/// An option together with its value, for a socket that is yet to be made.
public struct SocketOptionSetting: Sendable {
    private let name: String
    private let places: SocketOptionPlaces
    /// nil for a value that the kernel's type cannot hold.
    private let bytes: [UInt8]?

    /// Says that `option` is to be `value`.
    public init<Value>(_ option: SocketOption<Value>, _ value: Value) {
        name = option.name
        places = option.places
        bytes = option.coding.encode(value)
    }

    /// Sets the option (setsockopt(2)).
    func apply(to fd: Int32) throws(SystemError) {
        guard let bytes else { throw SystemError("setsockopt(\(name))", code: EINVAL) }
        for place in places.places(of: fd) where setsockopt(fd, place.level, place.name, bytes, .init(bytes.count)) != 0
        {
            throw .last("setsockopt(\(name))")
        }
    }
}

/// Where the kernel keeps one option: level and number, which may be others on an IPv6 socket.
struct SocketOptionPlaces: Sendable {
    typealias Place = (level: Int32, name: Int32)

    private let all: [Place]
    private let onIPv6: [Place]?

    /// The first place is read; a value is written to each.
    init(_ level: Int, _ name: Int32, onIPv6: [Place]? = nil) {
        all = [(Int32(level), name)]
        self.onIPv6 = onIPv6
    }

    static func socket(_ name: Int32) -> Self { Self(Int(SOL_SOCKET), name) }
    static func tcp(_ name: Int32) -> Self { Self(IPPROTO_TCP, name) }
    /// One name for IPv4, another for IPv6.
    static func ip(_ name: Int32, v6: Int32) -> Self { Self(IPPROTO_IP, name, onIPv6: [(Int32(IPPROTO_IPV6), v6)]) }

    func places(of fd: Int32) -> [Place] {
        guard let onIPv6, Socket.family(of: fd) == AF_INET6 else { return all }
        return onIPv6
    }
}
