import Glibc

/// How the value of a socket option is laid out for setsockopt(2) and getsockopt(2).
struct SocketOptionCoding<Value: Sendable>: Sendable {
    /// The longest value in bytes.
    let capacity: Int
    /// nil: out of range.
    let encode: @Sendable (Value) -> [UInt8]?
    /// nil: not such a value.
    let decode: @Sendable (UnsafeRawBufferPointer) -> Value?

    /// A value of a fixed size that is its own encoding.
    fileprivate static func plain<Plain: BitwiseCopyable>(
        _: Plain.Type, encode: @escaping @Sendable (Value) -> Plain?, decode: @escaping @Sendable (Plain) -> Value?
    ) -> Self {
        Self(
            capacity: MemoryLayout<Plain>.size,
            encode: { value in encode(value).map { withUnsafeBytes(of: $0) { Array($0) } } },
            decode: { $0.count == MemoryLayout<Plain>.size ? decode($0.loadUnaligned(as: Plain.self)) : nil })
    }
}

extension SocketOptionCoding<Int32> {
    /// An int as it is.
    static var int32: Self { .plain(Int32.self, encode: { $0 }, decode: { $0 }) }
}

extension SocketOptionCoding<Int> {
    /// An int.
    static var int: Self { .plain(Int32.self, encode: Int32.init(exactly:), decode: Int.init) }
    /// An unsigned int.
    static var unsigned: Self { .plain(UInt32.self, encode: UInt32.init(exactly:), decode: Int.init) }
}

extension SocketOptionCoding<Bool> {
    /// An int that is 0 or not.
    static var flag: Self { .plain(Int32.self, encode: { $0 ? 1 : 0 }, decode: { $0 != 0 }) }
}

extension SocketOptionCoding<Duration> {
    /// A number of whole units, of which there are `perSecond` to the second; rounded up.
    static func duration(perSecond: Int64) -> Self {
        let attosecondsPerUnit = 1_000_000_000_000_000_000 / perSecond
        return .plain(
            UInt32.self,
            encode: { duration in
                let (seconds, attoseconds) = duration.components
                guard duration >= .zero, seconds <= Int64(Int32.max) else { return nil }
                let units = seconds * perSecond + (attoseconds + attosecondsPerUnit - 1) / attosecondsPerUnit
                // The kernel's type is an int, or an unsigned one that some calls take for an int.
                return Int32(exactly: units).map(UInt32.init)
            },
            decode: { units in
                let (seconds, rest) = Int64(units).quotientAndRemainder(dividingBy: perSecond)
                return Duration(secondsComponent: seconds, attosecondsComponent: rest * attosecondsPerUnit)
            })
    }
}

extension SocketOptionCoding<Duration?> {
    /// `struct linger` (socket(7)), in whole seconds; nil is off. See ``SocketOption/linger`` for what is refused.
    static var linger: Self {
        .plain(
            Glibc.linger.self,
            encode: { duration in
                switch duration {
                case nil: Glibc.linger(l_onoff: 0, l_linger: 0)
                case .zero: Glibc.linger(l_onoff: 1, l_linger: 0)
                default: nil
                }
            },
            decode: { $0.l_onoff == 0 ? .some(nil) : .seconds(Int($0.l_linger)) })
    }
}

extension SocketOptionCoding<String> {
    /// A name of fewer than `capacity` bytes, with a terminating zero.
    static func name(capacity: Int) -> Self {
        Self(
            capacity: capacity,
            encode: { name in
                name.utf8.count < capacity && !name.utf8.contains(0) ? Array(name.utf8) + [0] : nil
            },
            decode: { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) })
    }
}

extension SocketOptionCoding<[UInt8]> {
    /// Bytes as they are, `capacity` of them at most.
    static func bytes(capacity: Int) -> Self {
        Self(capacity: capacity, encode: { $0.count <= capacity ? $0 : nil }, decode: { Array($0) })
    }
}
