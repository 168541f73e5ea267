import Transport

/// The state of a connection between two processes, which may be of different versions of this program.
///
/// On the wire, little-endian throughout:
///
///     0  version  UInt8
///     1  kind     UInt8
///     2  payload  echo: a remainder
///                 pair: upstream's address, last activity (UInt64, nanoseconds), client's remainder, upstream's remainder
///
/// A remainder is flags (UInt8: 1 the input has ended, 2 FIN is to follow, 4 FIN has been sent), the numbers of unread and
/// unsent bytes (UInt32 each), and those bytes. Whatever decodes, encodes back to the same bytes.
enum FrozenState: Equatable {
    /// An echoed client.
    case echo(ConnectionRemainder)
    /// A client and its upstream, joined.
    case pair(FrozenPair)

    /// A program that raises this raises `Packet.version` too, and goes on to read all of 1...version: connections come from
    /// workers that an upgrade has made old. To a program older than the one that froze them none come: workers are run
    /// from their supervisor's own binary (/proc/self/exe), and no program takes a pool over in which a worker has agreed
    /// on a newer `Packet.version` than it speaks (`UpgradeImage`).
    private static let version: UInt8 = 1

    private enum Kind: UInt8 {
        case echo = 1
        case pair = 2
    }

    /// The bytes that ``init(decoding:)`` reads.
    var encoded: [UInt8] {
        var writer = StateWriter()
        writer.write(Self.version)
        switch self {
        case .echo(let remainder):
            writer.write(Kind.echo.rawValue)
            writer.write(remainder)
        case .pair(let pair):
            writer.write(Kind.pair.rawValue)
            writer.write(pair.upstreamAddress)
            writer.write(pair.lastActivity.nanoseconds)
            writer.write(pair.client)
            writer.write(pair.upstream)
        }
        return writer.bytes
    }

    /// Reads what another process has encoded; nil for anything that no service of this version can have meant.
    init?(decoding bytes: [UInt8]) {
        var reader = StateReader(bytes)
        guard reader.byte() == Self.version, let kind = reader.byte().flatMap(Kind.init(rawValue:)) else { return nil }
        switch kind {
        case .echo:
            guard let remainder = reader.remainder() else { return nil }
            self = .echo(remainder)
        case .pair:
            guard let address = reader.address(), let lastActivity = reader.integer(UInt64.self),
                let client = reader.remainder(), let upstream = reader.remainder(),
                let pair = FrozenPair(
                    upstreamAddress: address, lastActivity: MonotonicTime(nanoseconds: lastActivity), client: client,
                    upstream: upstream)
            else { return nil }
            self = .pair(pair)
        }
        guard reader.isAtEnd else { return nil }
    }
}

/// A client and its upstream: what is left undone on both sides.
struct FrozenPair: Equatable {
    let upstreamAddress: SocketAddress
    /// When a byte last passed. The clock is the machine's: both processes have the same.
    let lastActivity: MonotonicTime
    let client: ConnectionRemainder
    let upstream: ConnectionRemainder

    /// Nil when the sides contradict each other: the end of one side's input is what ends the other's output, and nothing else.
    init?(
        upstreamAddress: SocketAddress, lastActivity: MonotonicTime, client: ConnectionRemainder,
        upstream: ConnectionRemainder
    ) {
        guard client.isInputEnded == (upstream.output != .open), upstream.isInputEnded == (client.output != .open)
        else { return nil }
        self.upstreamAddress = upstreamAddress
        self.lastActivity = lastActivity
        self.client = client
        self.upstream = upstream
    }
}
