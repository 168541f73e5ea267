import Transport

extension Packet {
    /// Reads the one packet that `bytes` hold, all of it and nothing else. Bytes may be anything: the sender is not trusted.
    public init(decoding bytes: UnsafeRawBufferPointer) throws(PacketError) {
        var reader = PacketReader(bytes)
        // The version comes first and is judged first: nothing else is known of a packet from another build.
        let version = try reader.take(UInt8.self)
        guard version == Packet.version else { throw .version(version) }
        let kindByte = try reader.take(UInt8.self)
        let count = try reader.take(UInt16.self)
        let length = Int(try reader.take(UInt32.self))
        let first = try reader.take(UInt64.self)
        guard let kind = PacketKind(rawValue: kindByte) else { throw .kind(kindByte) }
        guard reader.remaining >= length else { throw .truncated }
        guard reader.remaining == length else { throw .trailingBytes(reader.remaining - length) }

        if kind == .connections {
            self = try reader.takeConnections(first: first, count: count)
        } else {
            guard count == 0 else { throw .count(count) }
            guard first == 0 else { throw .sequence(first) }
            self = try reader.takeControl(kind)
        }
        guard reader.remaining == 0 else { throw .trailingBytes(reader.remaining) }
    }

    /// Checks that `found` descriptors may come with this packet. Fewer than belong to it may, when the kernel says that
    /// it dropped some (`truncated`, MSG_CTRUNC): that is how a full descriptor table shows (unix(7)).
    func checkDescriptors(found: Int, truncated: Bool) throws(PacketError) {
        let expected = descriptorCount
        guard found == expected || (truncated && found < expected) else {
            throw .descriptors(expected: expected, found: found)
        }
    }
}

/// Takes little-endian values from bytes of unknown length, and never more than there are.
private struct PacketReader {
    private let bytes: UnsafeRawBufferPointer
    private var offset = 0

    init(_ bytes: UnsafeRawBufferPointer) {
        self.bytes = bytes
    }

    var remaining: Int { bytes.count - offset }

    mutating func take<Value: FixedWidthInteger & BitwiseCopyable>(_: Value.Type) throws(PacketError) -> Value {
        let size = MemoryLayout<Value>.size
        guard remaining >= size else { throw .truncated }
        defer { offset += size }
        return Value(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Value.self))
    }

    mutating func takeText(length: Int) throws(PacketError) -> String {
        guard remaining >= length else { throw .truncated }
        defer { offset += length }
        guard let text = String(validating: bytes[offset..<offset + length], as: UTF8.self) else { throw .notUTF8 }
        return text
    }

    mutating func takeConnections(first: UInt64, count: UInt16) throws(PacketError) -> Packet {
        guard 1...Packet.connectionsMax ~= Int(count) else { throw .count(count) }
        guard first <= .max - UInt64(count) else { throw .sequence(first) }
        var records: [ConnectionRecord] = []
        records.reserveCapacity(Int(count))
        for _ in 0..<count { records.append(try takeRecord()) }
        return .connections(first: first, records)
    }

    mutating func takeRecord() throws(PacketError) -> ConnectionRecord {
        let listener = try take(UInt16.self)
        let acceptedAt = MonotonicTime(nanoseconds: try take(UInt64.self))
        return ConnectionRecord(listener: listener, peer: try takeAddress(), acceptedAt: acceptedAt)
    }

    mutating func takeAddress() throws(PacketError) -> SocketAddress {
        let familyByte = try take(UInt8.self)
        switch WireFamily(rawValue: familyByte) {
        case .ipv4:
            let host = try take(UInt32.self)
            return .ipv4(host, port: try take(UInt16.self))
        case .ipv6:
            let high = try take(UInt64.self)
            let low = try take(UInt64.self)
            let port = try take(UInt16.self)
            return .ipv6(high: high, low: low, port: port, scope: try take(UInt32.self))
        case .unix:
            let length = Int(try take(UInt8.self))
            guard length <= SocketAddress.unixPathLengthMax else { throw .pathTooLong(length) }
            return .unix(path: try takeText(length: length))
        case nil:
            throw .family(familyByte)
        }
    }

    mutating func takeControl(_ kind: PacketKind) throws(PacketError) -> Packet {
        switch kind {
        case .connections: preconditionFailure("connections are no control packet")
        case .drain: return .drain(milliseconds: try take(UInt32.self))
        case .stop: return .stop
        case .hello:
            let version = try take(UInt8.self)
            let pid = try take(Int32.self)
            return .hello(version: version, pid: pid, generation: try take(UInt32.self))
        case .ready: return .ready
        case .drained: return .drained(forced: try take(UInt32.self))
        case .failed:
            let byte = try take(UInt8.self)
            guard let code = ExitCode(rawValue: Int32(byte)) else { throw .exitCode(byte) }
            guard remaining <= Packet.messageLengthMax else { throw .messageTooLong(remaining) }
            return .failed(code, message: try takeText(length: remaining))
        }
    }
}
