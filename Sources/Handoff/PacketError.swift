/// Why bytes from the hand-off socket are not a packet.
public enum PacketError: Error, Equatable, Sendable {
    /// The bytes end before the packet does.
    case truncated
    /// The packet is longer than any can be.
    case tooLong
    /// So many bytes follow the end of the packet.
    case trailingBytes(Int)
    /// The sender speaks another version of the protocol: one of the two processes is from another build.
    case version(UInt8)
    /// No packet of this version has this kind.
    case kind(UInt8)
    /// The count is not in 1...16 for connections, not 1 for a moved one, or not 0 for another kind.
    case count(UInt16)
    /// The sequence number would overflow, or is not 0 in a packet without connections; or no number of an offer.
    case sequence(UInt64)
    /// A moved connection with so many sockets.
    case socketCount(UInt8)
    /// A moved connection with a state of so many bytes.
    case stateSize(Int)
    /// What came as the file with a state is not a readable memfd of that size, sealed against every change.
    case stateFile
    /// No address has this family.
    case family(UInt8)
    /// A Unix-domain path of so many bytes.
    case pathTooLong(Int)
    /// A message of so many bytes.
    case messageTooLong(Int)
    /// A path or a message is not UTF-8.
    case notUTF8
    /// No ``ExitCode`` has this value.
    case exitCode(UInt8)
    /// Another number of descriptors came than belongs to the packet, and not because the kernel dropped some.
    case descriptors(expected: Int, found: Int)
}

extension PacketError: CustomStringConvertible {
    /// One clause for a log line.
    public var description: String {
        switch self {
        case .truncated: "the packet is cut short"
        case .tooLong: "the packet is longer than \(Packet.sizeMax) bytes"
        case .trailingBytes(let count): "\(count) bytes follow the packet"
        case .version(let version):
            "packet version \(version), this build speaks \(Packet.versionMin) to \(Packet.version)"
        case .kind(let kind): "unknown packet kind \(kind)"
        case .count(let count): "a packet with a count of \(count)"
        case .sequence(let first): "impossible sequence number \(first)"
        case .socketCount(let count): "a connection with \(count) sockets"
        case .stateSize(let size): "a connection with a state of \(size) bytes"
        case .stateFile: "the file with a connection's state is not one"
        case .family(let family): "unknown address family \(family)"
        case .pathTooLong(let length): "a Unix-domain path of \(length) bytes"
        case .messageTooLong(let length): "a message of \(length) bytes"
        case .notUTF8: "text that is not UTF-8"
        case .exitCode(let code): "unknown exit code \(code)"
        case .descriptors(let expected, let found): "\(found) descriptors came, the packet has \(expected)"
        }
    }
}
