import Transport

@testable import Handoff

/// SplitMix64: the same numbers from the same seed.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) {
        state = seed
    }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}

/// Packets of every kind, with every address family, at the ends of every range.
enum PacketSamples {
    static let addresses: [SocketAddress] = [
        .ipv4(0, port: 0), .ipv4(0x7f00_0001, port: 80), .ipv4(.max, port: .max),
        .ipv6(high: 0, low: 1, port: 443, scope: 0),
        .ipv6(high: 0xfe80_0000_0000_0000, low: 0x0123_4567_89ab_cdef, port: 1, scope: 7),
        .ipv6(high: .max, low: .max, port: .max, scope: .max),
        .unix(path: ""), .unix(path: "/run/é.sock"), .unix(path: "@abstract"),
        .unix(path: String(repeating: "p", count: SocketAddress.unixPathLengthMax)),
    ]

    static let connections: [Packet] =
        addresses.map { .connections(first: 0, [record($0)]) }
        + (1...Packet.connectionsMax).map { count in
            .connections(first: UInt64(count) << 40, (0..<count).map { record(addresses[$0 % addresses.count], $0) })
        } + [
            .connections(first: .max - 16, Array(repeating: record(addresses[9]), count: 16)),
            .connections(first: .max - 1, [record(addresses[0])]),
        ]

    /// What a version 1 build can say besides connections.
    static let oldControls: [Packet] =
        [
            drain(0), drain(9_000), drain(.max), .stop, .ready,
            .hello(version: Packet.version, pid: 1, incarnation: 0),
            .hello(version: .max, pid: .max, incarnation: .max),
            .hello(version: 0, pid: .min, incarnation: 1), .drained(forced: 0), .drained(forced: .max),
            .failed(.internalError, message: String(repeating: "m", count: Packet.messageLengthMax)),
        ]
        + ExitCode.allCases.flatMap { code in
            ["", "seccomp denies io_uring_setup: add it"].map { .failed(code, message: $0) }
        }

    static let controls: [Packet] =
        oldControls + [
            .drain(milliseconds: 0, migrationsPerSecond: 1), .drain(milliseconds: .max, migrationsPerSecond: .max),
            .offerTaken(number: 0), .offerTaken(number: .max), .offerRefused(number: 1), .offerRefused(number: .max),
        ]

    /// Moved connections whose state is in the packet.
    static let moved: [Packet] =
        addresses.enumerated().flatMap { index, address -> [Packet] in
            let connection = moved(address, socketCount: index % 4 + 1, stateSize: index * 3)
            return [.migrated(first: UInt64(index) << 40, connection), .offer(number: UInt32(index), connection)]
        } + [
            .migrated(
                first: .max - 1, moved(addresses[9], socketCount: 4, stateSize: MigratedConnection.inlineStateMax)),
            .offer(number: .max, moved(addresses[0], socketCount: 1, stateSize: 0)),
        ]

    /// Moved connections whose state is in a file.
    static let movedWithFile: [Packet] = [
        .migrated(first: 7, moved(addresses[3], socketCount: 2, stateSize: MigratedConnection.inlineStateMax + 1)),
        .offer(number: 7, moved(addresses[9], socketCount: 4, stateSize: MigratedConnection.stateSizeMax)),
    ]

    static let all = connections + controls + moved

    /// Packets that `version` has, whole in their bytes.
    static func all(in version: UInt8) -> [Packet] { version == 1 ? connections + oldControls : all }

    static func drain(_ milliseconds: UInt32) -> Packet {
        .drain(milliseconds: milliseconds, migrationsPerSecond: 0)
    }

    static func moved(_ peer: SocketAddress, socketCount: Int, stateSize: Int) -> MigratedConnection {
        MigratedConnection(
            record: record(peer, socketCount), socketCount: socketCount,
            state: (0..<stateSize).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 8) })
    }

    static func record(_ peer: SocketAddress, _ number: Int = 0) -> ConnectionRecord {
        ConnectionRecord(
            listener: UInt16(number * 4_369), peer: peer, acceptedAt: MonotonicTime(nanoseconds: .max - UInt64(number)))
    }
}

/// The bytes of a packet.
func encoded(_ packet: Packet, version: UInt8 = Packet.version) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: Packet.sizeMax) { buffer, count in
        count = packet.encode(version: version, into: UnsafeMutableRawBufferPointer(buffer))
    }
}

/// What bytes decode to, or the error.
func decodedWhole(_ bytes: [UInt8]) -> Result<DecodedPacket, PacketError> {
    bytes.withUnsafeBytes { buffer in
        do throws(PacketError) {
            return .success(try DecodedPacket(buffer))
        } catch {
            return .failure(error)
        }
    }
}

/// The packet or the error that bytes decode to.
func decoded(_ bytes: [UInt8]) -> Result<Packet, PacketError> { decodedWhole(bytes).map(\.packet) }

func littleEndian(_ value: some FixedWidthInteger) -> [UInt8] {
    withUnsafeBytes(of: value.littleEndian, Array.init)
}

func replacing(_ index: Int, in bytes: [UInt8], with new: UInt8...) -> [UInt8] {
    var changed = bytes
    changed.replaceSubrange(index..<index + new.count, with: new)
    return changed
}
