import CSocket
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Datagram queue")
struct DatagramQueueTests {
    /// What one call would send, as plain values.
    struct Piece: Equatable {
        var bytes: [UInt8]
        var name: [UInt8] = []
        var segmentSize: UInt16 = 0
    }

    private static func pieces(_ queue: borrowing DatagramQueue, max: Int = 64) -> [Piece] {
        let batch = UnsafeMutableBufferPointer<csocket_datagram>.allocate(capacity: max)
        defer { batch.deallocate() }
        let count = queue.gather(into: batch)
        return batch[..<count].map { datagram in
            Piece(
                bytes: Array(UnsafeRawBufferPointer(start: datagram.bytes, count: datagram.length)),
                name: Array(UnsafeRawBufferPointer(start: datagram.name, count: Int(datagram.name_length))),
                segmentSize: datagram.segment_size)
        }
    }

    private static func append(_ piece: Piece, isSplit: Bool = false, to queue: inout DatagramQueue) {
        piece.bytes.withUnsafeBytes { bytes in
            piece.name.withUnsafeBytes { name in
                queue.append(bytes, name: name, segmentSize: piece.segmentSize, isSplit: isSplit)
            }
        }
    }

    @Test("datagrams keep their bounds, addresses and order; an empty one is one too")
    func order() {
        var queue = DatagramQueue()
        let pieces = [
            Piece(bytes: [1, 2, 3], name: [9]), Piece(bytes: []), Piece(bytes: [4], name: pattern(110)),
            Piece(bytes: pattern(70_000), segmentSize: 1000),
        ]
        for piece in pieces { Self.append(piece, to: &queue) }
        #expect(Self.pieces(queue) == pieces)
        #expect(Self.pieces(queue, max: 2) == Array(pieces.prefix(2)))
        #expect(queue.payloadBytes == 70_004 && queue.count == 4)
        let first = queue.sent(3)
        #expect(first.datagrams == 3 && first.bytes == 4)
        let last = queue.sent(1)
        #expect(last.datagrams == 70 && last.bytes == 70_000)
        #expect(queue.isEmpty && queue.count == 0 && queue.bytesUsed == 0)
    }

    @Test("a split entry counts and is sent segment by segment, the last shorter")
    func split() {
        var queue = DatagramQueue()
        Self.append(Piece(bytes: Array(0..<25), name: [5], segmentSize: 10), isSplit: true, to: &queue)
        Self.append(Piece(bytes: [77]), to: &queue)
        let all = [
            Piece(bytes: Array(0..<10), name: [5]), Piece(bytes: Array(10..<20), name: [5]),
            Piece(bytes: Array(20..<25), name: [5]), Piece(bytes: [77]),
        ]
        #expect(Self.pieces(queue) == all)
        #expect(Self.pieces(queue, max: 2) == Array(all.prefix(2)))
        let first = queue.sent(2)
        #expect(first.datagrams == 2 && first.bytes == 20)
        #expect(Self.pieces(queue) == Array(all.suffix(2)))
        #expect(queue.payloadBytes == 6 && queue.count == 2)
        let rest = queue.sent(2)
        #expect(rest.datagrams == 2 && rest.bytes == 6 && queue.isEmpty)
    }

    @Test("what the kernel would not split is split here, once; the rest of it can be dropped")
    func splitLater() {
        var queue = DatagramQueue()
        Self.append(Piece(bytes: Array(0..<20), segmentSize: 10), to: &queue)
        #expect(Self.pieces(queue) == [Piece(bytes: Array(0..<20), segmentSize: 10)])
        let wasSplit = queue.splitFirst()
        let wasSplitAgain = queue.splitFirst()
        #expect(wasSplit && !wasSplitAgain)
        #expect(Self.pieces(queue).count == 2)
        _ = queue.sent(1)
        queue.removeFirst()
        #expect(queue.isEmpty && queue.payloadBytes == 0)
        Self.append(Piece(bytes: [1]), to: &queue)
        let wasSplitAlone = queue.splitFirst()
        #expect(!wasSplitAlone, "one datagram has no segments")
    }

    @Test("a send of several entries counts once: it is over with its last, or dropped with the first that fails")
    func sends() {
        var queue = DatagramQueue()
        func append(_ byte: UInt8, endsSend: Bool) {
            withUnsafeBytes(of: byte) { queue.append($0, endsSend: endsSend) }
        }
        for byte in 0..<3 { append(UInt8(byte), endsSend: byte == 2) }
        append(3, endsSend: true)
        for byte in 4..<6 { append(UInt8(byte), endsSend: byte == 5) }
        #expect(queue.count == 3)
        let part = queue.sent(2)
        #expect(part.sends == 0 && part.datagrams == 2 && queue.count == 3)
        let more = queue.sent(2)
        #expect(more.sends == 2 && more.datagrams == 2 && queue.count == 1)
        append(6, endsSend: true)
        queue.removeFirstSend()
        #expect(Self.pieces(queue) == [Piece(bytes: [6])] && queue.count == 1)
    }

    @Test("any sequence of appending and sending gives what a list would", arguments: 0..<20)
    func model(seed: UInt64) {
        var generator = SeededGenerator(seed: seed + 1)
        var queue = DatagramQueue()
        var model: [Piece] = []
        for step in 0..<2000 {
            // Phases in which it grows and phases in which it empties.
            let grows = (step / 100) % 2 == 0
            if Int.random(in: 0..<10, using: &generator) < (grows ? 7 : 3) {
                let length = Int.random(in: 0...(step % 50 == 0 ? 20_000 : 300), using: &generator)
                let name = pattern(Int.random(in: 0...110, using: &generator), seed: generator.next())
                let piece = Piece(bytes: pattern(length, seed: generator.next()), name: name)
                Self.append(piece, to: &queue)
                model.append(piece)
            } else if !model.isEmpty {
                let number = Int.random(in: 1...min(64, model.count), using: &generator)
                let bytes = model.prefix(number).reduce(0) { $0 + $1.bytes.count }
                let sent = queue.sent(number)
                #expect(sent.datagrams == number && sent.bytes == bytes && sent.sends == number)
                model.removeFirst(number)
            }
            #expect(queue.count == model.count)
            if step % 20 == 0 { #expect(Self.pieces(queue) == Array(model.prefix(64))) }
        }
        #expect(queue.payloadBytes == model.reduce(0) { $0 + $1.bytes.count })
        queue.removeAll()
        #expect(queue.isEmpty && queue.bytesUsed == 0)
    }
}
