import Transport

/// One packet between the supervisor and a worker: the whole language of the hand-off socket.
///
/// On the wire, little-endian throughout:
///
///     0  version  UInt8
///     1  kind     UInt8
///     2  count    UInt16   connections in the packet, 0 in every other kind
///     4  length   UInt32   bytes after the header
///     8  first    UInt64   sequence number of the first connection, 0 in every other kind
///     16 payload
///
/// A packet has exactly one encoding: whatever decodes, encodes back to the same bytes.
public enum Packet: Equatable, Sendable {
    /// To a worker: 1 to ``connectionsMax`` accepted sockets, numbered `first`, `first + 1`, …, with one descriptor each
    /// in the same order.
    case connections(first: UInt64, [ConnectionRecord])
    /// To a worker: finish what is open, take nothing new, cut what is left after so many milliseconds, then leave.
    case drain(milliseconds: UInt32)
    /// To a worker: shut every connection down at once and leave.
    case stop
    /// To the supervisor, first of all: the newest packet version the worker speaks, its process and its generation.
    case hello(version: UInt8, pid: Int32, generation: UInt32)
    /// To the supervisor: the worker's ring works and connections may come.
    case ready
    /// To the supervisor: the worker has no connection any more and exits with 0; `forced` were cut at the deadline.
    case drained(forced: UInt32)
    /// To the supervisor: the worker is about to exit with this code, for this reason. A message of more than
    /// ``messageLengthMax`` bytes arrives shortened.
    case failed(ExitCode, message: String)

    /// The version in the header. It stands for the packets and for the layout of the ``StatusPage``.
    public static let version: UInt8 = 1
    /// The most connections, and so descriptors, in one packet.
    public static let connectionsMax = 16
    /// The longest text of a ``failed(_:message:)`` packet, in bytes of UTF-8.
    public static let messageLengthMax = 512
    /// The size in bytes of the longest packet: enough for any buffer.
    public static let sizeMax = headerSize + max(connectionsMax * recordSizeMax, 1 + messageLengthMax)

    /// The bytes before the payload.
    static let headerSize = 16
    /// Listener, time and family, then a Unix-domain path with its length: the longest of the three families.
    static let recordSizeMax = 2 + 8 + 1 + 1 + SocketAddress.unixPathLengthMax

    /// How many descriptors belong to this packet.
    public var descriptorCount: Int {
        if case .connections(_, let records) = self { records.count } else { 0 }
    }
}

/// The kind byte of the header. The numbers are the protocol: never reuse one.
enum PacketKind: UInt8, CaseIterable {
    case connections = 1
    case drain = 2
    case stop = 3
    case hello = 4
    case ready = 5
    case drained = 6
    case failed = 7
}

/// The address family byte of a connection record.
enum WireFamily: UInt8, CaseIterable {
    case unix = 1
    case ipv4 = 4
    case ipv6 = 6
}
