import Testing

@testable import Transport

@Suite("What a detached connection leaves")
struct ConnectionRemainderTests {
    @Test("a remainder that contradicts itself is none")
    func contradictions() {
        #expect(ConnectionRemainder(unread: [1], isInputEnded: true) == nil)
        #expect(ConnectionRemainder(unsent: [1], output: .finished) == nil)
        #expect(ConnectionRemainder(unread: [1], unsent: [1], output: .finishing) != nil)
        #expect(ConnectionRemainder(unsent: [1], isInputEnded: true) != nil)
    }
}
