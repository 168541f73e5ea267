import CRing
import Glibc
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("CRing: no descriptor left", .needsRing)
struct AcceptExhaustionTests {
    @Test("a multishot accept ends with EMFILE and without F_MORE; the client stays queued")
    func multishotAccept() async {
        await #expect(processExitsWith: .success) {
            let listener = try Socket.listen(.anyLoopback, backlog: 8)
            let client = try Peer(connectingTo: try #require(Socket.localAddress(of: listener)))
            let ring = try RawRing()
            let table = FullTable()
            #expect(cring_accept_multishot(ring.ring, 1, listener) == 0)
            let failed = try ring.wait(for: 1)[0]
            #expect(failed.result == -EMFILE && !failed.hasMore)
            table.release()
            #expect(cring_accept_multishot(ring.ring, 2, listener) == 0)
            let accepted = try ring.wait(for: 1)[0]
            #expect(accepted.user_data == 2 && accepted.result >= 0 && accepted.hasMore)
            try client.send("x")
            #expect(try Peer(fd: accepted.result).receive() == Array("x".utf8))
        }
    }
}
