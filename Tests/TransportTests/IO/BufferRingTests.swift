import CRing
import Foundation
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("CRing: the buffer ring", .needsRing)
struct BufferRingTests {
    @Test("a buffer ring is registered and unregistered, and its group is free again (netty 20)")
    func registration() throws {
        let ring = try RawRing()
        for _ in 0..<3 {
            let buffers = try RawBuffers(ring, count: 4, size: 64)
            #expect(throws: SystemError("buffers", code: EEXIST)) { try RawBuffers(ring, count: 4, size: 64) }
            withExtendedLifetime(buffers) {}
        }
    }

    @Test(
        "a count that is no power of two, too many or none, and a size of 0 are refused",
        arguments: [
            (0, 64), (3, 64), (65_536, 64), (4, 0),
        ] as [(UInt32, UInt32)])
    func malformed(count: UInt32, size: UInt32) throws {
        let ring = try RawRing()
        #expect(throws: SystemError("buffers", code: EINVAL)) { try RawBuffers(ring, count: count, size: size) }
    }

    @Test("a multishot receive fills one buffer after the other, and names each")
    func receive() throws {
        let ring = try RawRing()
        let buffers = try RawBuffers(ring, count: 4, size: 8)
        let pair = try SocketPair()
        #expect(cring_receive(ring.ring, 7, pair.left, 1, 1, 0) == 0)
        #expect(write(pair.right, "0123456789abcdefXYZ", 19) == 19)
        let completions = try ring.wait(for: 3)
        #expect(completions.map { $0.user_data } == [7, 7, 7])
        #expect(completions.allSatisfy { $0.hasMore && $0.hasBuffer })
        #expect(completions.flatMap(buffers.bytes) == Array("0123456789abcdefXYZ".utf8))
        #expect(Set(completions.map(\.bufferID)).count == 3)
        pair.finishOutput(of: pair.right)
        let end = try ring.wait(for: 1)[0]
        #expect(end.result == 0 && !end.hasMore)
    }

    @Test("with every buffer held the receive ends with ENOBUFS; returned buffers are used again (netty 21)")
    func exhaustion() throws {
        let ring = try RawRing()
        let buffers = try RawBuffers(ring, count: 2, size: 4)
        let pair = try SocketPair()
        #expect(cring_receive(ring.ring, 1, pair.left, 1, 1, 0) == 0)
        #expect(write(pair.right, "aaaabbbbcccc", 12) == 12)
        var completions = try ring.wait(for: 3)
        let last = completions.removeLast()
        #expect(last.result == -ENOBUFS && !last.hasMore && !last.hasBuffer)
        #expect(completions.flatMap(buffers.bytes) == Array("aaaabbbb".utf8))
        for round in 0..<100 {
            buffers.give(completions.map(\.bufferID))
            #expect(cring_receive(ring.ring, 1, pair.left, 1, 1, 0) == 0)
            completions = try ring.wait(for: 1)
            #expect(completions.count == 1 && completions[0].hasMore)
            #expect(completions.flatMap(buffers.bytes) == Array("cccc".utf8))
            buffers.give(completions.map(\.bufferID))
            #expect(write(pair.right, "ddddeeeecccc", 12) == 12)
            completions = try ring.wait(for: 2)
            while completions.last?.hasMore == true { completions += try ring.wait(for: 1) }
            #expect(completions.last?.result == -ENOBUFS, "round \(round)")
            completions.removeLast()
            #expect(completions.flatMap(buffers.bytes) == Array("ddddeeee".utf8))
        }
    }

    @Test(
        "an incremental buffer is filled to its end by several sockets, and used up only then",
        .enabled(if: UringIncremental.isSupported, "this kernel has no reliable incremental buffer rings"))
    func incremental() throws {
        let ring = try RawRing()
        let buffers = try RawBuffers(ring, count: 2, size: 16, incremental: true)
        let pairs = try [SocketPair(), SocketPair()]
        for (index, pair) in pairs.enumerated() {
            #expect(cring_receive(ring.ring, UInt64(index + 1), pair.left, 1, 1, 0) == 0)
        }
        var all: [cring_completion] = []
        for (index, text) in ["aaaaa", "bbbbbb", "ccccccccc"].enumerated() {
            #expect(write(pairs[index % 2].right, text, text.count) == text.count)
            all += try ring.wait(for: index == 2 ? 2 : 1)
        }
        #expect(all.map(\.result) == [5, 6, 5, 4] && all.map(\.user_data) == [1, 2, 1, 1])
        #expect(all.allSatisfy { $0.hasBuffer && $0.hasMore })
        #expect(all.map(\.bufferHasMore) == [true, true, false, true])
        #expect(all[0].bufferID == all[2].bufferID && all[2].bufferID != all[3].bufferID)
        let first = buffers.base + Int(all[0].bufferID) * 16
        #expect(UnsafeRawBufferPointer(start: first, count: 16).elementsEqual(Array("aaaaabbbbbbccccc".utf8)))
    }

    @Test(
        "the end of the stream uses nothing of an incremental buffer",
        .enabled(if: UringIncremental.isSupported, "this kernel has no reliable incremental buffer rings"),
        arguments: [0, 1] as [Int32])
    func incrementalEnd(multishot: Int32) throws {
        let ring = try RawRing()
        let buffers = try RawBuffers(ring, count: 1, size: 16, incremental: true)
        let pair = try SocketPair()
        #expect(write(pair.right, "abc", 3) == 3)
        #expect(cring_receive(ring.ring, 1, pair.left, 1, multishot, 0) == 0)
        let bytes = try ring.wait(for: 1)[0]
        #expect(bytes.bufferHasMore)
        pair.finishOutput(of: pair.right)
        if multishot == 0 { #expect(cring_receive(ring.ring, 1, pair.left, 1, 0, 0) == 0) }
        let end = try ring.wait(for: 1)[0]
        #expect(end.result == 0 && !end.hasMore && !end.hasBuffer)
        withExtendedLifetime(buffers) {}
    }

    @Test(
        "a limited receive ends with the bytes that reach its limit, and leaves the rest in the socket",
        .enabled(if: UringAvailability.limitsReceivesHere, "this kernel cannot limit receives"))
    func limited() throws {
        let ring = try RawRing()
        let buffers = try RawBuffers(ring, count: 8, size: 4)
        let pair = try SocketPair()
        #expect(write(pair.right, "aaaabbbbccccdddd", 16) == 16)
        #expect(cring_receive(ring.ring, 1, pair.left, 1, 1, 6) == 0)
        let completions = try ring.wait(for: 2)
        #expect(completions.flatMap(buffers.bytes) == Array("aaaabbbb".utf8))
        #expect(completions.map(\.hasMore) == [true, false])
        #expect(ring.enter() == 0 && ring.reap().isEmpty)
    }

    @Test("a receive that is cancelled gives no buffer away")
    func cancelledReceive() throws {
        let ring = try RawRing()
        let buffers = try RawBuffers(ring, count: 2, size: 16)
        let pair = try SocketPair()
        for round in 0..<10 {
            #expect(cring_receive(ring.ring, 1, pair.left, 1, 1, 0) == 0)
            #expect(ring.enter() == 0 && ring.reap().isEmpty)
            #expect(cring_cancel(ring.ring, 2, 1) == 0)
            let both = try ring.wait(for: 2)
            #expect(both.contains { $0.user_data == 1 && $0.result == -ECANCELED && !$0.hasMore && !$0.hasBuffer })
            withExtendedLifetime(buffers) { #expect(both.count == 2, "round \(round)") }
        }
    }
}
