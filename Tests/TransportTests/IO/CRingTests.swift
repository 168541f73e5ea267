import CRing
import Foundation
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("CRing: the ring", .needsRing)
struct CRingTests {
    @Test("a NOP comes back with its user data, once")
    func nop() throws {
        let ring = try RawRing()
        #expect(cring_nop(ring.ring, 0x0102_0304_0506_0708) == 0)
        let completions = try ring.wait(for: 1)
        #expect(completions.count == 1)
        #expect(completions[0].user_data == 0x0102_0304_0506_0708)
        #expect(completions[0].result == 0 && completions[0].flags == 0)
        #expect(ring.enter() == 0 && ring.reap().isEmpty)
    }

    @Test("a submission queue of 8 takes 8, refuses the ninth, and takes it after an enter (netty 1)")
    func fullSubmissionQueue() throws {
        let ring = try RawRing(sq: 8)
        #expect(ring.submissionEntries == 8)
        for index in UInt64(1)...8 { #expect(cring_nop(ring.ring, index) == 0) }
        #expect(cring_nop(ring.ring, 9) == -EBUSY)
        #expect(ring.enter() == 0)
        #expect(cring_nop(ring.ring, 9) == 0)
        #expect(try ring.wait(for: 9).map(\.user_data) == Array(1...9))
    }

    @Test("the completion queue's size is as asked for, rounded up to a power of two (netty 3)")
    func completionQueueSize() throws {
        #expect(try RawRing(sq: 8, cq: 8).completionEntries == 8)
        #expect(try RawRing(sq: 8, cq: 15).completionEntries == 16)
        #expect(try RawRing(sq: 8, cq: 4096).completionEntries == 4096)
    }

    @Test(
        "a size beyond the kernel's limit is lowered to it where that is allowed, and refused where not",
        .needsLockedMemory(bytes: 16 << 20))
    func clamp() throws {
        let clamped = try RawRing(sq: 1 << 16, cq: 1 << 17, enabled: false)
        #expect(clamped.submissionEntries == 1 << 15)
        #expect(throws: SystemError("io_uring_setup", code: EINVAL)) {
            try RawRing(sq: 1 << 16, cq: 1 << 17, clamped: false)
        }
    }

    @Test("a flag that the kernel does not know is EINVAL, and no ring")
    func unknownFlag() {
        var made: OpaquePointer?
        #expect(cring_create(1 << 31, 8, 8, &made) == -EINVAL)
        #expect(made == nil)
    }

    @Test("completions beyond the completion queue are flagged, kept in order and none is lost (netty 4)")
    func overflow() throws {
        let ring = try RawRing(sq: 4, cq: 4)
        #expect(ring.completionEntries == 4)
        #expect(cring_has_overflow(ring.ring) == 0)
        for index in UInt64(1)...10 {
            if cring_nop(ring.ring, index) == -EBUSY {
                #expect(ring.enter() == 0)
                #expect(cring_nop(ring.ring, index) == 0)
            }
        }
        #expect(ring.enter() == 0)
        #expect(cring_has_overflow(ring.ring) != 0)
        var seen = ring.reap().map(\.user_data)
        #expect(seen == [1, 2, 3, 4])
        while seen.count < 10 {
            #expect(ring.enter() == 0)
            let more = ring.reap().map(\.user_data)
            try #require(!more.isEmpty)
            seen += more
        }
        #expect(seen == Array(1...10))
        #expect(ring.enter() == 0 && cring_has_overflow(ring.ring) == 0)
    }

    @Test("reaping takes as many as there is room for, and leaves the rest in order")
    func reapInParts() throws {
        let ring = try RawRing(sq: 8)
        for index in UInt64(1)...7 { #expect(cring_nop(ring.ring, index) == 0) }
        #expect(ring.enter() == 0)
        #expect(ring.reap(3).map(\.user_data) == [1, 2, 3])
        #expect(ring.reap(3).map(\.user_data) == [4, 5, 6])
        #expect(ring.reap(3).map(\.user_data) == [7])
        #expect(ring.reap(3).isEmpty)
    }

    @Test("the queues work on after their indices have wrapped many times")
    func wrapAround() throws {
        let ring = try RawRing(sq: 4, cq: 8)
        var next: UInt64 = 1
        var expected: UInt64 = 1
        for round in 0..<200 {
            for _ in 0...(round % 3) {
                #expect(cring_nop(ring.ring, next) == 0)
                next += 1
            }
            for completion in try ring.wait(for: round % 3 + 1) {
                #expect(completion.user_data == expected)
                expected += 1
            }
        }
        #expect(next == expected)
    }

    /// Whatever liburing's io_uring_prep_*() leaves to its io_uring_get_sqe(), which is not used.
    @Test("an entry that is used again carries nothing over from its former operation")
    func usedAgain() throws {
        let ring = try RawRing(sq: 1)
        let pair = try SocketPair()
        let buffers = try RawBuffers(ring, count: 2, size: 64)
        // Sets flags, ioprio and buf_group.
        #expect(cring_receive(ring.ring, 1, pair.left, 1, 1, 0) == 0)
        #expect(ring.enter() == 0 && ring.reap().isEmpty)
        let bytes = Array("hello".utf8)
        #expect(cring_send(ring.ring, 2, pair.right, bytes, UInt32(bytes.count)) == 0)
        let both = try ring.wait(for: 2).sorted { $0.user_data < $1.user_data }
        #expect(both.map(\.result) == [5, 5] && both.map(\.hasMore) == [true, false])
        #expect(both.map(\.hasBuffer) == [true, false] && buffers.bytes(both[0]) == bytes)
        // Sets rw_flags.
        #expect(cring_nop(ring.ring, 3) == 0)
        let last = try ring.wait(for: 1)[0]
        #expect(last.user_data == 3 && last.result == 0 && last.flags == 0)
        #expect(cring_cancel(ring.ring, 4, 1) == 0)
        #expect(try ring.wait(for: 2).count == 2)
    }

    @Test("a ring that is still disabled takes no enter")
    func disabled() throws {
        let ring = try RawRing(enabled: false)
        #expect(cring_nop(ring.ring, 1) == 0)
        #expect(ring.enter() == -EBADFD)
        try ring.enable()
        #expect(cring_enable(ring.ring) == -EBADFD, "enabled once")
        #expect(try ring.wait(for: 1).count == 1)
    }

    @Test("an enter by another thread than the one that enabled the ring is refused")
    func wrongThread() throws {
        let ring = try RawRing()
        let address = UInt(bitPattern: ring.ring)
        let results = Recorder<Int32>()
        Thread.detachNewThread {
            let ring = OpaquePointer(bitPattern: address)!
            _ = cring_nop(ring, 1)
            results.record(cring_enter(ring, 0, -1))
        }
        let result = try results.next()
        // EINVAL where the ring's own descriptor is registered: the other thread has registered none.
        #expect(result == -EINVAL || result == -EEXIST)
        let nothing = ring.reap()
        #expect(nothing.isEmpty)
    }

    @Test("a wait without a completion ends with ETIME when its time is over, and not before")
    func timeout() throws {
        let ring = try RawRing()
        let start = MonotonicTime.now
        #expect(cring_enter(ring.ring, 1, 20_000_000) == -ETIME)
        #expect(MonotonicTime.now - start >= .milliseconds(20))
        #expect(cring_enter(ring.ring, 1, 0) == -ETIME)
    }

    @Test("cancelling what is not there is ENOENT; cancelling a poll ends both with a completion")
    func cancel() throws {
        let ring = try RawRing()
        let pair = try SocketPair()
        #expect(cring_cancel(ring.ring, 1, 99) == 0)
        let unknown = try ring.wait(for: 1)
        #expect(unknown[0].user_data == 1 && unknown[0].result == -ENOENT)
        #expect(cring_poll(ring.ring, 2, pair.left, UInt32(POLLIN), 1) == 0)
        #expect(ring.enter() == 0 && ring.reap().isEmpty)
        #expect(cring_cancel(ring.ring, 3, 2) == 0)
        let both = try ring.wait(for: 2)
        let results = Dictionary(uniqueKeysWithValues: both.map { ($0.user_data, $0.result) })
        #expect(results == [2: -ECANCELED, 3: 0])
        #expect(both.allSatisfy { !$0.hasMore })
    }

    @Test("a one-shot poll ends with its event; a multishot poll tells of each edge")
    func poll() throws {
        let ring = try RawRing()
        let pair = try SocketPair()
        #expect(cring_poll(ring.ring, 1, pair.left, UInt32(POLLIN), 0) == 0)
        #expect(cring_poll(ring.ring, 2, pair.left, UInt32(POLLIN), 1) == 0)
        #expect(ring.enter() == 0)
        #expect(write(pair.right, "a", 1) == 1)
        let first = try ring.wait(for: 2).sorted { $0.user_data < $1.user_data }
        #expect(first.map(\.user_data) == [1, 2] && first.map(\.hasMore) == [false, true])
        #expect(first.allSatisfy { $0.result & Int32(POLLIN) != 0 })
        var byte: UInt8 = 0
        #expect(read(pair.left, &byte, 1) == 1)
        #expect(write(pair.right, "b", 1) == 1)
        let second = try ring.wait(for: 1)
        #expect(second.map(\.user_data) == [2] && second[0].hasMore)
    }

    @Test("a send to a peer that is gone is EPIPE, without a signal")
    func brokenPipe() throws {
        let ring = try RawRing()
        let pair = try SocketPair()
        shutdown(pair.right, Int32(SHUT_RDWR))
        let bytes: [UInt8] = [1, 2, 3]
        try bytes.withUnsafeBufferPointer { bytes in
            #expect(cring_send(ring.ring, 1, pair.left, bytes.baseAddress, 3) == 0)
            let completion = try ring.wait(for: 1)[0]
            #expect(completion.result == -EPIPE)
        }
    }

    @Test("the kernel is asked which operations it knows (netty 5)")
    func probe() throws {
        let ring = try RawRing()
        for opcode in [CRING_OPCODE_NOP, CRING_OPCODE_ACCEPT, CRING_OPCODE_RECV, CRING_OPCODE_ASYNC_CANCEL] {
            #expect(cring_supports(ring.ring, UInt8(opcode)) == 1)
        }
        #expect(cring_supports(ring.ring, 255) == 0)
        let noDrop: UInt32 = 1 << 1
        #expect(cring_features(ring.ring) & noDrop != 0, "completions must survive an overflow (IORING_FEAT_NODROP)")
    }
}
