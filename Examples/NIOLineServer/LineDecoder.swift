import NIOCore

/// Makes lines, without their ends, of bytes as the network cut them.
final class LineDecoder: ByteToMessageDecoder {
    typealias InboundOut = String

    /// A line was longer than ``lineBytesMax``.
    struct LineTooLong: Error {}

    /// Whether nothing of the next line has come yet.
    private(set) var isBetweenLines = true
    private static let lineBytesMax = 4096

    func decode(context: ChannelHandlerContext, buffer: inout ByteBuffer) throws -> DecodingState {
        defer { isBetweenLines = buffer.readableBytes == 0 }
        guard let end = buffer.readableBytesView.firstIndex(of: UInt8(ascii: "\n")) else {
            guard buffer.readableBytes <= Self.lineBytesMax else { throw LineTooLong() }
            return .needMoreData
        }
        let line = buffer.readString(length: end - buffer.readerIndex) ?? ""
        buffer.moveReaderIndex(forwardBy: 1)
        context.fireChannelRead(Self.wrapInboundOut(line))
        return .continue
    }
}
