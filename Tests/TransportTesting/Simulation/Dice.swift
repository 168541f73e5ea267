@testable import Transport

/// The one source of chance in a simulated world, so that its seed is the whole of its history.
final class Dice {
    private var generator: SeededGenerator

    init(seed: UInt64) {
        generator = SeededGenerator(seed: seed &+ 1)
        // The first numbers of neighbouring seeds resemble each other.
        for _ in 0..<8 { _ = generator.next() }
    }

    /// 0 to `bound` - 1.
    func below(_ bound: Int) -> Int { Int(generator.next() % UInt64(bound)) }

    /// 1 to `max`.
    func upTo(_ max: Int) -> Int { 1 + below(max) }

    func chance(_ percent: Int) -> Bool { percent > 0 && below(100) < percent }

    func one<Element>(of choices: [Element]) -> Element { choices[below(choices.count)] }

    func shuffle<Element>(_ elements: inout [Element]) {
        for index in elements.indices.dropFirst() { elements.swapAt(index, below(index + 1)) }
    }
}
