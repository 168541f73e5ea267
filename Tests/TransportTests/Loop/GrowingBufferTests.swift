import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Growing buffer")
struct GrowingBufferTests {
    @Test("random operations agree with an array", arguments: [1, 3, 64])
    func model(capacity: Int) {
        var generator = SeededGenerator(seed: UInt64(capacity))
        var buffer = GrowingBuffer<UInt32>(capacity: capacity)
        var model: [UInt32] = []
        for step in 0..<20_000 {
            switch Int.random(in: 0..<100, using: &generator) {
            case ..<90:
                buffer.append(UInt32(step))
                model.append(UInt32(step))
            case ..<99:
                let number = Int.random(in: 0...model.count, using: &generator)
                buffer.removeFirst(number)
                model.removeFirst(number)
            default:
                buffer.removeAll()
                model.removeAll()
            }
            #expect(buffer.count == model.count && buffer.isEmpty == model.isEmpty)
            if let last = model.indices.last { #expect(buffer[last] == model[last]) }
            if step % 100 == 0 { #expect(buffer.elements.elementsEqual(model)) }
        }
    }
}
