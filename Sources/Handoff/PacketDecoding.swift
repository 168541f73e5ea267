import Transport

/// What the bytes of a packet say.
struct DecodedPacket: Equatable {
    /// The version it was said in.
    var version: UInt8
    /// The packet, without its state when that is in a file.
    var packet: Packet
    /// How many bytes of state the file has that comes with it; 0 when none does.
    var stateFileSize = 0

    /// Reads the one packet that `bytes` hold, all of it and nothing else. Bytes may be anything: the sender is not trusted.
    init(_ bytes: UnsafeRawBufferPointer) throws(PacketError) {
        var reader = PacketReader(bytes)
        // The version comes first and is judged first: nothing else is known of a packet from another build.
        version = try reader.take(UInt8.self)
        guard Packet.versionMin...Packet.version ~= version else { throw .version(version) }
        let kindByte = try reader.take(UInt8.self)
        let count = try reader.take(UInt16.self)
        let length = Int(try reader.take(UInt32.self))
        let first = try reader.take(UInt64.self)
        guard let kind = PacketKind(rawValue: kindByte), kind.versions.contains(version) else { throw .kind(kindByte) }
        guard reader.remaining >= length else { throw .truncated }
        guard reader.remaining == length else { throw .trailingBytes(reader.remaining - length) }

        switch kind {
        case .connections:
            packet = try reader.takeConnections(first: first, count: count)
        case .migrated:
            guard count == 1 else { throw .count(count) }
            guard first < .max else { throw .sequence(first) }
            packet = .migrated(first: first, try reader.takeMigrated(stateFileSize: &stateFileSize))
        case .offer:
            guard count == 1 else { throw .count(count) }
            guard let number = UInt32(exactly: first) else { throw .sequence(first) }
            packet = .offer(number: number, try reader.takeMigrated(stateFileSize: &stateFileSize))
        case .drain, .stop, .offerTaken, .offerRefused, .hello, .ready, .drained, .failed:
            guard count == 0 else { throw .count(count) }
            guard first == 0 else { throw .sequence(first) }
            packet = try reader.takeControl(kind, version: version)
        }
        guard reader.remaining == 0 else { throw .trailingBytes(reader.remaining) }
    }

    /// How many descriptors belong to the packet, the file with its state included.
    var descriptorCount: Int { packet.descriptorCount + (stateFileSize > 0 ? 1 : 0) }

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

    /// A state of more than ``MigratedConnection/inlineStateMax`` bytes is left empty, and its size is stored.
    mutating func takeMigrated(stateFileSize: inout Int) throws(PacketError) -> MigratedConnection {
        let record = try takeRecord()
        let socketCount = try take(UInt8.self)
        guard 1...MigratedConnection.socketsMax ~= Int(socketCount) else { throw .socketCount(socketCount) }
        let size = Int(try take(UInt32.self))
        guard size <= MigratedConnection.stateSizeMax else { throw .stateSize(size) }
        var state: [UInt8] = []
        if size > MigratedConnection.inlineStateMax {
            stateFileSize = size
        } else {
            guard remaining >= size else { throw .truncated }
            state = Array(bytes[offset..<offset + size])
            offset += size
        }
        return MigratedConnection(record: record, socketCount: Int(socketCount), state: state)
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

    mutating func takeControl(_ kind: PacketKind, version: UInt8) throws(PacketError) -> Packet {
        switch kind {
        case .connections, .migrated, .offer: preconditionFailure("a packet with connections is no control packet")
        case .drain:
            let milliseconds = try take(UInt32.self)
            let rate = version >= Packet.migrationVersion ? try take(UInt32.self) : 0
            return .drain(milliseconds: milliseconds, migrationsPerSecond: rate)
        case .stop: return .stop
        case .offerTaken: return .offerTaken(number: try take(UInt32.self))
        case .offerRefused: return .offerRefused(number: try take(UInt32.self))
        case .hello:
            let version = try take(UInt8.self)
            let pid = try take(Int32.self)
            return .hello(version: version, pid: pid, incarnation: try take(UInt32.self))
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
