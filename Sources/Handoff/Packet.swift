import Transport

/// One packet between the supervisor and a worker: the whole language of the hand-off socket.
///
/// On the wire, little-endian throughout:
///
///     0  version  UInt8
///     1  kind     UInt8
///     2  count    UInt16   connections in the packet, 0 in a packet without any
///     4  length   UInt32   bytes after the header
///     8  first    UInt64   sequence number of the first connection, or number of the offer; 0 in every other kind
///     16 payload
///
/// A packet has exactly one encoding in each version: whatever decodes, encodes back to the same bytes.
///
/// Two builds agree on the older one's version. A worker's first packet, ``hello(version:pid:incarnation:)``, has the same
/// bytes in all versions and says the newest that the worker speaks; from then on the supervisor speaks
/// ``versionAgreed(with:)``. A worker speaks the version in which it was last spoken to, and ``versionMin`` before that.
public enum Packet: Equatable, Sendable {
    /// To a worker: 1 to ``connectionsMax`` accepted sockets, numbered `first`, `first + 1`, …, with one descriptor each
    /// in the same order.
    case connections(first: UInt64, [ConnectionRecord])
    /// To a worker, since version 2: ONE connection that another worker gave up. It takes one sequence number, like a
    /// fresh one.
    case migrated(first: UInt64, MigratedConnection)
    /// To a worker: finish what is open, take nothing new, cut what is left after so many milliseconds, then leave.
    /// Meanwhile offer so many connections per second, none if 0. Version 1 knows the milliseconds only.
    case drain(milliseconds: UInt32, migrationsPerSecond: UInt32)
    /// To a worker: shut every connection down at once and leave.
    case stop
    /// To a worker, since version 2: the supervisor has what was offered under this number. Close your copy.
    case offerTaken(number: UInt32)
    /// To a worker, since version 2: nobody can have what was offered under this number. Go on serving it. Workers without
    /// room, or a supervisor without room for its state or sockets, may have some later; a listener that is gone, or that
    /// has another kind of service now, seldom comes back.
    case offerRefused(number: UInt32)
    /// To the supervisor, since version 2: a draining worker gives one connection up, and keeps its copy until it hears
    /// what became of it. Each worker numbers its offers from 0 on.
    case offer(number: UInt32, MigratedConnection)
    /// To the supervisor, first of all: the newest packet version the worker speaks, its process, and which process of
    /// its slot that is.
    case hello(version: UInt8, pid: Int32, incarnation: UInt32)
    /// To the supervisor: the worker's ring works and connections may come.
    case ready
    /// To the supervisor: the worker has no connection any more and exits with 0; `forced` were cut at the deadline.
    case drained(forced: UInt32)
    /// To the supervisor: the worker is about to exit with this code, for this reason. A message of more than
    /// ``messageLengthMax`` bytes arrives shortened.
    case failed(ExitCode, message: String)

    /// The newest version this build speaks. It stands for the packets and for the layout of the ``StatusPage``.
    public static let version: UInt8 = 2
    /// The oldest version this build speaks, and the one that everything is said in until both sides know better.
    public static let versionMin: UInt8 = 1
    /// The version in which connections can move from worker to worker.
    public static let migrationVersion: UInt8 = 2
    /// The most connections, and so descriptors, in one packet.
    public static let connectionsMax = 16
    /// The longest text of a ``failed(_:message:)`` packet, in bytes of UTF-8.
    public static let messageLengthMax = 512
    /// The size in bytes of the longest packet: enough for any buffer.
    public static let sizeMax =
        headerSize
        + max(
            connectionsMax * recordSizeMax, 1 + messageLengthMax,
            recordSizeMax + 1 + 4 + MigratedConnection.inlineStateMax)

    /// The bytes before the payload.
    static let headerSize = 16
    /// Listener, time and family, then a Unix-domain path with its length: the longest of the three families.
    static let recordSizeMax = 2 + 8 + 1 + 1 + SocketAddress.unixPathLengthMax

    /// The version to speak with a worker that said this one in its hello; nil when there is none that both speak.
    public static func versionAgreed(with other: UInt8) -> UInt8? {
        other >= versionMin ? min(version, other) : nil
    }

    /// A moved connection's packet with this state.
    func with(state: [UInt8]) -> Packet {
        switch self {
        case .migrated(let first, let connection): .migrated(first: first, connection.with(state: state))
        case .offer(let number, let connection): .offer(number: number, connection.with(state: state))
        case .connections, .drain, .stop, .offerTaken, .offerRefused, .hello, .ready, .drained, .failed:
            preconditionFailure("a packet without a state")
        }
    }

    /// How many descriptors belong to this packet.
    public var descriptorCount: Int {
        switch self {
        case .connections(_, let records): records.count
        case .migrated(_, let connection), .offer(_, let connection): connection.descriptorCount
        case .drain, .stop, .offerTaken, .offerRefused, .hello, .ready, .drained, .failed: 0
        }
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
    case migrated = 8
    case offer = 9
    case offerTaken = 10
    case offerRefused = 11

    /// The versions in which a packet of this kind can be said.
    var versions: ClosedRange<UInt8> {
        switch self {
        // Said before anything is agreed, and so in the words that every build knows.
        case .hello: Packet.versionMin...Packet.versionMin
        case .connections, .drain, .stop, .ready, .drained, .failed: Packet.versionMin...Packet.version
        case .migrated, .offer, .offerTaken, .offerRefused: Packet.migrationVersion...Packet.version
        }
    }
}

/// The address family byte of a connection record.
enum WireFamily: UInt8, CaseIterable {
    case unix = 1
    case ipv4 = 4
    case ipv6 = 6
}
