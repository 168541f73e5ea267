import Testing

@testable import ringload

@Suite("a connection's messages")
struct MessageLaneTests {
    private let table = LaneTable(count: 2, size: 10, depthMax: 3, active: 2)

    @Test("a message is answered with its last byte, in the order of sending")
    func inOrder() {
        let lane = table[0]
        for time in [100, 200, 300] as [UInt64] { lane.pointee.began(time) }
        #expect(!lane.pointee.hasRoom)
        #expect(lane.pointee.received(9) == .init(answered: 0, excess: 0))
        #expect(lane.pointee.received(1) == .init(answered: 1, excess: 0))
        #expect(lane.pointee.takeOldest() == 100)
        #expect(lane.pointee.hasRoom && lane.pointee.inFlight == 2)
        // The ring of times goes round.
        lane.pointee.began(400)
        #expect(lane.pointee.received(25) == .init(answered: 2, excess: 0))
        #expect([lane.pointee.takeOldest(), lane.pointee.takeOldest()] == [200, 300])
        #expect(lane.pointee.received(5) == .init(answered: 1, excess: 0))
        #expect(lane.pointee.takeOldest() == 400)
        #expect(lane.pointee.inFlight == 0)
    }

    @Test("bytes that nobody asked for are told")
    func excess() {
        let lane = table[0]
        #expect(lane.pointee.received(4) == .init(answered: 0, excess: 4))
        lane.pointee.began(1)
        #expect(lane.pointee.received(13) == .init(answered: 1, excess: 3))
        #expect(lane.pointee.takeOldest() == 1)
        lane.pointee.began(2)
        #expect(lane.pointee.received(10) == .init(answered: 1, excess: 0), "the excess is not taken for an answer")
    }

    @Test("lanes share nothing, and a renewed one begins anew")
    func renewed() {
        table[0].pointee.began(1)
        table[1].pointee.began(2)
        table[1].pointee.outgoing.advance(10)
        table.renew(1)
        #expect(table[1].pointee.inFlight == 0 && table[0].pointee.inFlight == 1)
        #expect(table[1].pointee.outgoing == BytePattern.start(ofConnection: 1))
        #expect(table[0].pointee.takeOldest() == 1)
    }
}
