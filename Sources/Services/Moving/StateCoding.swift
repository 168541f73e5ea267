import Transport

/// The address family byte of a frozen state.
private enum StateFamily: UInt8 {
    case unix = 1
    case ipv4 = 4
    case ipv6 = 6
}

/// The bits of a remainder's flags.
private enum RemainderFlag {
    static let isInputEnded: UInt8 = 1
    static let outputShift = 1
}

/// Appends the parts of a ``FrozenState``.
struct StateWriter {
    private(set) var bytes: [UInt8] = []

    mutating func write<Value: FixedWidthInteger>(_ value: Value) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    mutating func write(_ remainder: ConnectionRemainder) {
        bytes.reserveCapacity(bytes.count + 9 + remainder.unread.count + remainder.unsent.count)
        let ended = remainder.isInputEnded ? RemainderFlag.isInputEnded : 0
        write(ended | remainder.output.rawValue << RemainderFlag.outputShift)
        write(UInt32(remainder.unread.count))
        write(UInt32(remainder.unsent.count))
        bytes.append(contentsOf: remainder.unread)
        bytes.append(contentsOf: remainder.unsent)
    }

    mutating func write(_ address: SocketAddress) {
        switch address {
        case .ipv4(let host, let port):
            write(StateFamily.ipv4.rawValue)
            write(host)
            write(port)
        case .ipv6(let high, let low, let port, let scope):
            write(StateFamily.ipv6.rawValue)
            write(high)
            write(low)
            write(port)
            write(scope)
        case .unix(let path):
            precondition(path.utf8.count <= SocketAddress.unixPathLengthMax, "no socket has so long a path")
            write(StateFamily.unix.rawValue)
            write(UInt8(path.utf8.count))
            bytes.append(contentsOf: path.utf8)
        }
    }
}

/// Reads the parts of a ``FrozenState``; each is nil when the bytes end before it does or it cannot be so.
struct StateReader {
    private var rest: ArraySlice<UInt8>

    init(_ bytes: [UInt8]) { rest = bytes[...] }

    var isAtEnd: Bool { rest.isEmpty }

    mutating func byte() -> UInt8? { rest.popFirst() }

    mutating func integer<Value: FixedWidthInteger>(_ type: Value.Type) -> Value? {
        guard let bytes = take(MemoryLayout<Value>.size) else { return nil }
        return bytes.withUnsafeBytes { Value(littleEndian: $0.loadUnaligned(as: Value.self)) }
    }

    mutating func remainder() -> ConnectionRemainder? {
        guard let flags = byte(), let output = OutputState(rawValue: flags >> RemainderFlag.outputShift),
            let unreadCount = integer(UInt32.self), let unsentCount = integer(UInt32.self),
            let unread = take(Int(unreadCount)), let unsent = take(Int(unsentCount))
        else { return nil }
        return ConnectionRemainder(
            unread: Array(unread), unsent: Array(unsent), isInputEnded: flags & RemainderFlag.isInputEnded != 0,
            output: output)
    }

    mutating func address() -> SocketAddress? {
        switch byte().flatMap(StateFamily.init(rawValue:)) {
        case .ipv4:
            guard let host = integer(UInt32.self), let port = integer(UInt16.self) else { return nil }
            return .ipv4(host, port: port)
        case .ipv6:
            guard let high = integer(UInt64.self), let low = integer(UInt64.self), let port = integer(UInt16.self),
                let scope = integer(UInt32.self)
            else { return nil }
            return .ipv6(high: high, low: low, port: port, scope: scope)
        case .unix:
            guard let length = byte(), Int(length) <= SocketAddress.unixPathLengthMax, let text = take(Int(length)),
                let path = String(validating: text, as: UTF8.self)
            else { return nil }
            return .unix(path: path)
        case nil:
            return nil
        }
    }

    private mutating func take(_ count: Int) -> ArraySlice<UInt8>? {
        guard rest.count >= count else { return nil }
        defer { rest = rest.dropFirst(count) }
        return rest.prefix(count)
    }
}
