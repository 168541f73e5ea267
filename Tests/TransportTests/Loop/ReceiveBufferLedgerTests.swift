import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Receive buffers: the loop's account")
struct ReceiveBufferLedgerTests {
    /// A ledger over memory that is there for the duration of `body`.
    private static func with(
        count: UInt32, of countMax: Int, size: Int = 16, messages: Int = 0,
        _ body: (inout ReceiveBufferLedger, UnsafeMutableRawPointer) -> Void
    ) {
        let base = UnsafeMutableRawPointer.allocate(byteCount: countMax * size, alignment: 16)
        defer { base.deallocate() }
        var configuration = ReceiveBufferConfiguration()
        configuration.count = count
        var ledger = ReceiveBufferLedger(
            ReceiveBuffers(base: base, count: countMax, size: size, messageCount: messages), configuration)
        body(&ledger, base)
    }

    /// Where in its buffer the ledger says that the next bytes are.
    private static func place(
        _ ledger: borrowing ReceiveBufferLedger, _ base: UnsafeMutableRawPointer, _ id: UInt16, _ length: Int
    ) -> Int? {
        guard let start = ledger.bytes(id, length: length).baseAddress else { return nil }
        return start - UnsafeRawPointer(base) - 16 * Int(id)
    }

    private static func give(_ ledger: inout ReceiveBufferLedger, _ ids: Range<UInt16>) {
        Array(ids).withUnsafeBufferPointer { ledger.give($0) }
    }

    @Test("the bytes of an incremental buffer follow one another, and a buffer given again begins anew")
    func offsets() {
        Self.with(count: 2, of: 2) { ledger, base in
            Self.give(&ledger, 0..<2)
            for (length, offset, hasMore) in [(5, 0, true), (0, 5, true), (10, 5, true), (1, 15, false)] {
                #expect(Self.place(ledger, base, 1, length) == offset)
                let isUsedUp = ledger.consume(1, length: length, hasMore: hasMore)
                #expect(isUsedUp == !hasMore)
            }
            #expect(ledger.heldCount == 1)
            Self.give(&ledger, 1..<2)
            #expect(Self.place(ledger, base, 1, 16) == 0)
            #expect(ledger.heldCount == 0)
        }
    }

    @Test("a lent buffer is neither held nor the handler's; half of the buffers are lent at most")
    func lending() {
        Self.with(count: 4, of: 8) { ledger, _ in
            Self.give(&ledger, 0..<4)
            let isLent = (0..<4).map { ledger.lend(UInt16($0), length: 16) }
            #expect(isLent == [true, true, false, false])
            #expect(ledger.lentCount == 2 && ledger.heldCount == 0)
            ledger.takeBack(1)
            #expect(ledger.lentCount == 1 && ledger.heldCount == 1)
            Self.give(&ledger, 1..<2)
            let isLentAgain = ledger.lend(1, length: 1)
            #expect(isLentAgain && ledger.heldCount == 0)
            _ = ledger.grow()
            let isLentGrown = [2, 3].map { ledger.lend($0, length: 3) }
            #expect(isLentGrown == [true, true] && ledger.lentCount == 4 && ledger.heldCount == 4)
        }
    }

    @Test("buffers for messages are not lent, nor those that several receives fill")
    func neverLent() {
        Self.with(count: 4, of: 8, messages: 2) { ledger, _ in
            Self.give(&ledger, 0..<6)
            #expect(ledger.unlentCount == 4)
            let isLent = (0..<6).map { ledger.lend(UInt16($0), length: 1) }
            #expect(isLent == [false, false, true, true, false, false], "half of those that are not for messages")
            #expect(ledger.unlentCount == 2)
        }
        var configuration = ReceiveBufferConfiguration()
        configuration.isIncremental = true
        let memory = UnsafeMutableRawPointer.allocate(byteCount: 256 * 16, alignment: 16)
        defer { memory.deallocate() }
        var ledger = ReceiveBufferLedger(ReceiveBuffers(base: memory, count: 256, size: 16), configuration)
        Self.give(&ledger, 0..<256)
        let isLent = ledger.lend(0, length: 16)
        #expect(!isLent)
    }

    @Test("growth doubles the number of buffers up to the bound; those kept for messages do not grow")
    func growth() {
        Self.with(count: 3, of: 20, messages: 4) { ledger, _ in
            #expect(ledger.count == 7 && ledger.heldCount == 7)
            Self.give(&ledger, 0..<7)
            for added: Range<UInt16> in [7..<10, 10..<16, 16..<20, 20..<20] {
                let grown = ledger.grow()
                #expect(grown == added)
            }
            #expect(ledger.count == 20 && ledger.heldCount == 13)
        }
    }

    @Test("whatever the order of use, each byte is found where a model of the kernel put it", arguments: 0..<50)
    func model(seed: UInt64) {
        var generator = SeededGenerator(seed: seed + 1)
        Self.with(count: 4, of: 8) { ledger, base in
            var used = [Int](repeating: 0, count: 8)
            var held = Set<UInt16>(0..<4)
            for _ in 0..<2000 {
                let id = UInt16(generator.next() % UInt64(ledger.count))
                switch generator.next() % 8 {
                case 0:
                    let ids = Array(held.shuffled(using: &generator))
                    ids.withUnsafeBufferPointer { ledger.give($0) }
                    for id in held { used[Int(id)] = 0 }
                    held = []
                case 1 where generator.next() % 100 == 0:
                    held.formUnion(ledger.grow())
                default:
                    guard !held.contains(id) else { continue }
                    let length = Int(generator.next() % UInt64(17 - used[Int(id)]))
                    #expect(Self.place(ledger, base, id, length) == used[Int(id)])
                    used[Int(id)] += length
                    let hasMore = used[Int(id)] < 16
                    let isUsedUp = ledger.consume(id, length: length, hasMore: hasMore)
                    #expect(isUsedUp == !hasMore)
                    if !hasMore { held.insert(id) }
                }
                #expect(ledger.heldCount == held.count)
            }
        }
    }

    @Test("a completion that names a buffer which does not exist ends the process")
    func outOfRange() async {
        await #expect(processExitsWith: .failure) {
            Self.with(count: 2, of: 4) { ledger, _ in
                Self.give(&ledger, 0..<2)
                _ = ledger.consume(2, length: 1, hasMore: false)
            }
        }
    }

    @Test("a completion that names a buffer which the loop holds ends the process")
    func namedTwice() async {
        await #expect(processExitsWith: .failure) {
            Self.with(count: 2, of: 2) { ledger, _ in
                Self.give(&ledger, 0..<2)
                guard ledger.consume(0, length: 1, hasMore: false) else { return }
                _ = ledger.consume(0, length: 1, hasMore: false)
            }
        }
    }

    @Test("a completion that goes past its buffer's end ends the process")
    func tooLong() async {
        await #expect(processExitsWith: .failure) {
            Self.with(count: 2, of: 2) { ledger, _ in
                Self.give(&ledger, 0..<2)
                guard !ledger.consume(0, length: 10, hasMore: true) else { return }
                _ = ledger.bytes(0, length: 7)
            }
        }
    }
}
