/// Why a stream does not begin with a PROXY protocol header.
public enum ProxyHeaderError: Error, Hashable, Sendable {
    /// Neither `PROXY ` nor the signature of version 2.
    case notAHeader
    /// Version 1: no CR LF within 107 bytes.
    case lineTooLong
    /// Version 1: a CR without LF, or an LF without CR.
    case lineEnd
    /// Version 1: another word than `TCP4`, `TCP6` or `UNKNOWN`.
    case lineFamily
    /// Version 1: not exactly two addresses and two ports with one space between each.
    case lineFields
    /// Version 1: an address that is none of the family said.
    case lineAddress
    /// Version 1: a port that is not a plain decimal number up to 65535.
    case linePort
    /// Version 2: another version, or a command that is neither LOCAL nor PROXY.
    case versionOrCommand(UInt8)
    /// Version 2: a family or transport that the specification reserves.
    case familyOrTransport(UInt8)
    /// Version 2: more bytes announced than accepted here.
    case blockTooLong(Int)
    /// Version 2: fewer bytes announced than the family's addresses take.
    case blockTooShort(Int)
    /// Version 2: a Unix-domain path that does not end, or is not UTF-8.
    case unixPath
}

extension ProxyHeaderError: CustomStringConvertible {
    /// One line for the log.
    public var description: String {
        switch self {
        case .notAHeader: "the connection does not begin with a PROXY protocol header"
        case .lineTooLong: "PROXY v1: no end of line within \(ProxyWire.lineLengthMax) bytes"
        case .lineEnd: "PROXY v1: CR and LF do not come together"
        case .lineFamily: "PROXY v1: the family is not TCP4, TCP6 or UNKNOWN"
        case .lineFields: "PROXY v1: not two addresses and two ports, one space between each"
        case .lineAddress: "PROXY v1: an address is not one of the family said"
        case .linePort: "PROXY v1: a port is not a plain number from 0 to 65535"
        case .versionOrCommand(let byte): "PROXY v2: version and command byte \(byte) is not known"
        case .familyOrTransport(let byte): "PROXY v2: family and transport byte \(byte) is reserved"
        case .blockTooLong(let length):
            "PROXY v2: \(length) bytes announced, at most \(ProxyHeaderDecoder.extensionLengthMax) are accepted"
        case .blockTooShort(let length): "PROXY v2: \(length) bytes announced do not hold the addresses"
        case .unixPath: "PROXY v2: a Unix-domain path does not end or is not UTF-8"
        }
    }
}
