import Transport

extension Packet {
    /// Writes this packet in `version` to the beginning of `buffer` and returns its length in bytes. A state that has to
    /// travel in a file is left out.
    ///
    /// - Precondition: `buffer` has room for ``sizeMax`` bytes; this build speaks the version, and the version has such
    ///   packets; a connections packet has 1 to ``connectionsMax`` records; sequence numbers fit 64 bits.
    public func encode(version: UInt8, into buffer: UnsafeMutableRawBufferPointer) -> Int {
        var writer = PacketWriter(buffer, version: version)
        switch self {
        case .connections(let first, let records):
            return Self.encodeConnections(first: first, records, version: version, into: buffer)
        case .migrated(let first, let connection):
            precondition(first < .max, "the sequence number overflows")
            writer.put(connection)
            return writer.finish(.migrated, count: 1, first: first)
        case .offer(let number, let connection):
            writer.put(connection)
            return writer.finish(.offer, count: 1, first: UInt64(number))
        case .offerTaken(let number):
            writer.put(number)
            return writer.finish(.offerTaken)
        case .offerRefused(let number):
            writer.put(number)
            return writer.finish(.offerRefused)
        case .drain(let milliseconds, let migrationsPerSecond):
            writer.put(milliseconds)
            if version >= Self.migrationVersion { writer.put(migrationsPerSecond) }
            return writer.finish(.drain)
        case .stop:
            return writer.finish(.stop)
        case .hello(let version, let pid, let incarnation):
            writer.put(version)
            writer.put(pid)
            writer.put(incarnation)
            return writer.finish(.hello)
        case .ready:
            return writer.finish(.ready)
        case .drained(let forced):
            writer.put(forced)
            return writer.finish(.drained)
        case .failed(let code, let message):
            writer.put(UInt8(code.rawValue))
            writer.put(message.utf8Prefix(Packet.messageLengthMax))
            return writer.finish(.failed)
        }
    }

    /// Encodes a connections packet without making a `Packet` of it.
    static func encodeConnections(
        first: UInt64, _ records: [ConnectionRecord], version: UInt8, into buffer: UnsafeMutableRawBufferPointer
    ) -> Int {
        precondition(1...connectionsMax ~= records.count, "a connections packet has 1 to 16 records")
        precondition(first <= .max - UInt64(records.count), "the sequence number overflows")
        var writer = PacketWriter(buffer, version: version)
        for record in records { writer.put(record) }
        return writer.finish(.connections, count: UInt16(records.count), first: first)
    }
}

/// Appends little-endian values after the room for a header, and writes the header last.
private struct PacketWriter {
    private let buffer: UnsafeMutableRawBufferPointer
    private let version: UInt8
    private var length = Packet.headerSize

    init(_ buffer: UnsafeMutableRawBufferPointer, version: UInt8) {
        precondition(buffer.count >= Packet.sizeMax, "the buffer is smaller than Packet.sizeMax")
        precondition(Packet.versionMin...Packet.version ~= version, "a version that this build does not speak")
        self.buffer = buffer
        self.version = version
    }

    mutating func put<Value: FixedWidthInteger & BitwiseCopyable>(_ value: Value) {
        buffer.storeBytes(of: value.littleEndian, toByteOffset: length, as: Value.self)
        length += MemoryLayout<Value>.size
    }

    mutating func put(_ text: Substring.UTF8View) {
        let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[length...])
        rest.copyBytes(from: text)
        length += text.count
    }

    mutating func put(_ record: ConnectionRecord) {
        put(record.listener)
        put(record.acceptedAt.nanoseconds)
        switch record.peer {
        case .ipv4(let host, let port):
            put(WireFamily.ipv4.rawValue)
            put(host)
            put(port)
        case .ipv6(let high, let low, let port, let scope):
            put(WireFamily.ipv6.rawValue)
            put(high)
            put(low)
            put(port)
            put(scope)
        case .unix(let path):
            // A client chooses the name of its socket. One that is not UTF-8 grows when it is made into a String,
            // so a path may be longer here than any path the kernel takes.
            let text = path.utf8Prefix(SocketAddress.unixPathLengthMax)
            put(WireFamily.unix.rawValue)
            put(UInt8(text.count))
            put(text)
        }
    }

    mutating func put(_ connection: MigratedConnection) {
        put(connection.record)
        put(UInt8(connection.socketCount))
        put(UInt32(connection.state.count))
        guard !connection.isStateInFile else { return }
        UnsafeMutableRawBufferPointer(rebasing: buffer[length...]).copyBytes(from: connection.state)
        length += connection.state.count
    }

    consuming func finish(_ kind: PacketKind, count: UInt16 = 0, first: UInt64 = 0) -> Int {
        let end = length
        assert(end <= Packet.sizeMax)
        precondition(version >= kind.versions.lowerBound, "a packet that this version does not have")
        length = 0
        put(min(version, kind.versions.upperBound))
        put(kind.rawValue)
        put(count)
        put(UInt32(end - Packet.headerSize))
        put(first)
        assert(length == Packet.headerSize)
        return end
    }
}

extension String {
    /// The longest beginning of whole scalars with at most `lengthMax` bytes.
    fileprivate func utf8Prefix(_ lengthMax: Int) -> Substring.UTF8View {
        guard utf8.count > lengthMax else { return self[...].utf8 }
        var end = utf8.index(utf8.startIndex, offsetBy: lengthMax)
        while UTF8.isContinuation(utf8[end]) { end = utf8.index(before: end) }
        return self[..<end].utf8
    }
}
