import Handoff
import Transport

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

    static let controls: [Packet] =
        [
            .drain(milliseconds: 0), .drain(milliseconds: 9_000), .drain(milliseconds: .max), .stop, .ready,
            .hello(version: Packet.version, pid: 1, generation: 0), .hello(version: .max, pid: .max, generation: .max),
            .hello(version: 0, pid: .min, generation: 1), .drained(forced: 0), .drained(forced: .max),
            .failed(.internalError, message: String(repeating: "m", count: Packet.messageLengthMax)),
        ]
        + ExitCode.allCases.flatMap { code in
            ["", "seccomp denies io_uring_setup: add it"].map { .failed(code, message: $0) }
        }

    static let all = connections + controls

    static func record(_ peer: SocketAddress, _ number: Int = 0) -> ConnectionRecord {
        ConnectionRecord(
            listener: UInt16(number * 4_369), peer: peer, acceptedAt: MonotonicTime(nanoseconds: .max - UInt64(number)))
    }
}

/// The bytes of a packet.
func encoded(_ packet: Packet) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: Packet.sizeMax) { buffer, count in
        count = packet.encode(into: UnsafeMutableRawBufferPointer(buffer))
    }
}

/// The packet or the error that bytes decode to.
func decoded(_ bytes: [UInt8]) -> Result<Packet, PacketError> {
    bytes.withUnsafeBytes { buffer in
        do throws(PacketError) {
            return .success(try Packet(decoding: buffer))
        } catch {
            return .failure(error)
        }
    }
}
