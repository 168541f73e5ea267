/// Finds the PROXY protocol header, version 1 or 2, at the start of a byte stream that comes in pieces of any size.
///
/// It holds at most 232 bytes. Extensions of version 2 (TLVs) are skipped up to ``extensionLengthMax``; their CRC-32C
/// is not verified. There is no timeout in here: the owner limits how long a client may take.
public struct ProxyHeaderDecoder: Sendable {
    /// The most bytes, addresses and TLVs together, accepted after the 16 fixed bytes of version 2.
    public static let extensionLengthMax = 4096

    /// What a piece of the stream led to.
    public enum Outcome: Hashable, Sendable {
        /// All of the piece belongs to a header that is not complete yet.
        case needMore
        /// The header is complete: `consumed` bytes of this piece belong to it, what follows is payload.
        case header(ProxyHeader, consumed: Int)
        /// The stream does not begin with a header. Close it: guessing would let a client forge its address.
        case malformed(ProxyHeaderError)
    }

    private enum State: Sendable {
        /// No byte yet.
        case start
        /// Inside a version 1 line.
        case line
        /// Inside the signature or the fixed part of version 2.
        case fixed
        /// Inside the rest of version 2, which ends when so many bytes have come in all.
        case block(totalLength: Int)
        /// The outcome has been told.
        case finished
    }

    private var state = State.start
    /// The header so far, without TLVs.
    private var bytes: [UInt8] = []
    /// Bytes seen, TLVs included.
    private var seen = 0

    /// How many bytes it holds of the header so far.
    var bytesHeld: Int { bytes.count }

    /// A decoder at the start of a stream.
    public init() {}

    /// Takes the next piece of the stream.
    ///
    /// - Precondition: no call before had another outcome than ``Outcome/needMore``.
    public mutating func feed(_ piece: UnsafeRawBufferPointer) -> Outcome {
        if case .finished = state { preconditionFailure("the header has been decided before") }
        for (index, byte) in piece.enumerated() {
            do throws(ProxyHeaderError) {
                guard let header = try take(byte) else { continue }
                state = .finished
                return .header(header, consumed: index + 1)
            } catch {
                state = .finished
                return .malformed(error)
            }
        }
        return .needMore
    }

    private mutating func take(_ byte: UInt8) throws(ProxyHeaderError) -> ProxyHeader? {
        seen += 1
        if case .start = state { state = byte == ProxyWire.signature[0] ? .fixed : .line }
        switch state {
        case .line:
            bytes.append(byte)
            return try lineGrew()
        case .fixed:
            bytes.append(byte)
            return try fixedGrew()
        case .block(let totalLength):
            if bytes.count < ProxyHeaderBlock.addressEndMax { bytes.append(byte) }
            return seen == totalLength ? try ProxyHeaderBlock.header(bytes) : nil
        case .start, .finished:
            preconditionFailure("a byte is taken after the first state and before the last")
        }
    }

    private func lineGrew() throws(ProxyHeaderError) -> ProxyHeader? {
        let last = bytes[bytes.count - 1]
        if bytes.count <= ProxyWire.linePrefix.count {
            guard last == ProxyWire.linePrefix[bytes.count - 1] else { throw .notAHeader }
            return nil
        }
        let isAfterReturn = bytes[bytes.count - 2] == UInt8(ascii: "\r")
        guard isAfterReturn == (last == UInt8(ascii: "\n")) else { throw .lineEnd }
        if isAfterReturn { return try ProxyHeaderLine.header(bytes.dropLast(2)) }
        guard bytes.count < ProxyWire.lineLengthMax else { throw .lineTooLong }
        return nil
    }

    private mutating func fixedGrew() throws(ProxyHeaderError) -> ProxyHeader? {
        if bytes.count <= ProxyWire.signature.count {
            guard bytes[bytes.count - 1] == ProxyWire.signature[bytes.count - 1] else { throw .notAHeader }
            return nil
        }
        guard bytes.count == ProxyWire.fixedLength else { return nil }
        let length = try ProxyHeaderBlock.remainingLength(bytes)
        if length == 0 { return try ProxyHeaderBlock.header(bytes) }
        state = .block(totalLength: ProxyWire.fixedLength + length)
        return nil
    }
}
