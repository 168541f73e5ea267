import CRing
import CSocket
import Glibc
import Testing

@testable import Transport

/// A ring used directly, without a loop.
final class RawRing {
    let ring: OpaquePointer

    init(sq: UInt32 = 8, cq: UInt32 = 64, enabled: Bool = true, clamped: Bool = true) throws {
        var flags = UInt32(
            CRING_SETUP_CQSIZE | CRING_SETUP_R_DISABLED | CRING_SETUP_SUBMIT_ALL | CRING_SETUP_SINGLE_ISSUER
                | CRING_SETUP_DEFER_TASKRUN)
        if clamped { flags |= UInt32(CRING_SETUP_CLAMP) }
        var made: OpaquePointer?
        try SystemError.check(cring_create(flags, sq, cq, &made), "io_uring_setup")
        ring = try #require(made)
        if enabled { try enable() }
    }

    deinit { cring_destroy(ring) }

    func enable() throws { try SystemError.check(cring_enable(ring), "enable") }

    // Methods, so that a test cannot use the pointer of a ring that is gone already.
    var submissionEntries: UInt32 { cring_sq_entries(ring) }
    var completionEntries: UInt32 { cring_cq_entries(ring) }

    func enter() -> Int32 { cring_enter(ring, 0, -1) }

    /// What has completed, up to `capacity` of it.
    func reap(_ capacity: Int = 64) -> [cring_completion] {
        withUnsafeTemporaryAllocation(of: cring_completion.self, capacity: capacity) { batch in
            Array(batch[..<Int(cring_reap(ring, batch.baseAddress, UInt32(capacity)))])
        }
    }

    /// Submits and waits until there are `count` completions, within 10 s.
    func wait(for count: Int) throws -> [cring_completion] {
        let deadline = MonotonicTime.now + .seconds(10)
        var all: [cring_completion] = []
        while all.count < count {
            let result = cring_enter(ring, 1, 1_000_000_000)
            if result != 0, result != -ETIME, result != -EINTR { throw SystemError("io_uring_enter", code: result) }
            all += reap()
            if .now > deadline { throw TimedOut(description: "\(all.count) completions instead of \(count)") }
        }
        return all
    }
}

/// A buffer ring of a raw ring.
final class RawBuffers {
    let buffers: OpaquePointer
    let size: Int
    let base: UnsafeMutableRawPointer
    private let ring: RawRing

    init(
        _ ring: RawRing, group: UInt16 = 1, count: UInt32, size: UInt32, incremental: Bool = false
    ) throws {
        let base = UnsafeMutableRawPointer.allocate(byteCount: max(1, Int(count) * Int(size)), alignment: 16)
        var made: OpaquePointer?
        let result = cring_buffers_create(ring.ring, group, count, incremental ? 1 : 0, base, size, &made)
        guard result == 0, let made else {
            base.deallocate()
            throw SystemError("buffers", code: result)
        }
        buffers = made
        self.base = base
        self.size = Int(size)
        self.ring = ring
        give(Array(0..<UInt16(count)))
    }

    deinit {
        cring_buffers_destroy(ring.ring, buffers)
        base.deallocate()
    }

    func give(_ ids: [UInt16]) { cring_buffers_give(buffers, ids, UInt32(ids.count), UInt32(size)) }

    func bytes(_ completion: cring_completion) -> [UInt8] {
        let start = base + Int(completion.bufferID) * size
        return Array(UnsafeRawBufferPointer(start: start, count: Int(max(0, completion.result))))
    }
}

extension cring_completion {
    var hasMore: Bool { flags & UInt32(CRING_COMPLETION_MORE) != 0 }
    var bufferHasMore: Bool { flags & UInt32(CRING_COMPLETION_BUFFER_MORE) != 0 }
    var hasBuffer: Bool { flags & UInt32(CRING_COMPLETION_BUFFER) != 0 }
    var bufferID: UInt16 { UInt16(flags >> 16) }
}

extension UringAvailability {
    /// Whether this kernel lets a receive be limited.
    static var limitsReceivesHere: Bool {
        if case .available(let features) = probe() { features.hasReceiveLimit } else { false }
    }
}
