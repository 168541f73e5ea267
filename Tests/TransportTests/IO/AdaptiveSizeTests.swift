import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Adaptive size of receives")
struct AdaptiveSizeTests {
    @Test("full reads go from the least size to the greatest in steps of four, and stay there (netty 23)")
    func growth() {
        var size = AdaptiveSize(min: 512, max: 65_536)
        var seen = [size.current]
        for _ in 0..<6 {
            size.record(size.current, of: size.current)
            seen.append(size.current)
        }
        #expect(seen == [512, 2048, 8192, 32_768, 65_536, 65_536, 65_536])
    }

    /// A size of 4,096, between 256 and 65,536.
    private func middle() -> AdaptiveSize {
        var size = AdaptiveSize(min: 256, max: 65_536)
        for _ in 0..<2 { size.record(size.current, of: size.current) }
        return size
    }

    @Test("a row of reads that would not fill a quarter makes it that quarter, and no fewer do")
    func shrinking() {
        var size = middle()
        for _ in 1..<AdaptiveSize.smallReadsMax { size.record(1023, of: 4096) }
        #expect(size.current == 4096)
        size.record(1023, of: 4096)
        #expect(size.current == 1024)
    }

    @Test("a read that fills a quarter or more breaks the row", arguments: [1024, 1025, 4095] as [UInt32])
    func brokenRow(length: UInt32) {
        var size = middle()
        for _ in 1..<AdaptiveSize.smallReadsMax { size.record(0, of: 4096) }
        size.record(length, of: 4096)
        for _ in 1..<AdaptiveSize.smallReadsMax { size.record(0, of: 4096) }
        #expect(size.current == 4096)
    }

    @Test("reads into room given before the last change say nothing", arguments: [256, 1024, 16_384] as [UInt32])
    func formerSize(former: UInt32) {
        var size = middle()
        for _ in 0..<1000 { size.record(former, of: former) }
        for _ in 0..<1000 { size.record(0, of: former) }
        #expect(size.current == 4096)
    }

    /// Every pair of bounds from 64 to 8,192.
    static let bounds: [(UInt32, UInt32)] = (6...13).flatMap { low in (low...13).map { (1 << low, 1 << $0) } }

    @Test(
        "whatever is read, the size is a power of two within its bounds and moves by a step at most", arguments: bounds)
    func everyLength(min: UInt32, max: UInt32) {
        var size = AdaptiveSize(min: min, max: max)
        var generator = SeededGenerator(seed: UInt64(min) << 32 | UInt64(max))
        for _ in 0..<20_000 {
            let old = size.current
            // Rows of small reads and full reads are both common.
            let length = UInt32.random(in: 0...old, using: &generator) >> (generator.next() % 128 == 0 ? 0 : 6)
            size.record(generator.next() % 256 == 0 ? old : length, of: old)
            let new = size.current
            #expect(new >= min && new <= max && new.nonzeroBitCount == 1)
            #expect(new <= old * AdaptiveSize.step && new >= old / AdaptiveSize.step)
            if min == max { #expect(new == min) }
        }
    }

    @Test("a stream of equal messages finds its size and keeps it", arguments: bounds)
    func settling(min: UInt32, max: UInt32) {
        for message in stride(from: 1, through: 2 * max, by: 37) + [min, max, min / 2, 2 * min] {
            var size = AdaptiveSize(min: min, max: max)
            var changes = 0
            for _ in 0..<2000 {
                let old = size.current
                // Each read brings one message, or what there is room for.
                size.record(Swift.min(message, old), of: old)
                if size.current != old { changes += 1 }
            }
            #expect(changes <= 4, "\(message) bytes between \(min) and \(max): never settles")
        }
    }
}
