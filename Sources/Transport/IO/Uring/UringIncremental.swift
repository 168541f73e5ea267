import CRing
import CSocket
import Glibc

/// Whether this kernel's incremental buffer rings can be relied on, found by using one.
enum UringIncremental {
    /// Found once per process: the kernel does not change under it.
    static let isSupported = probe()

    private static let bufferSize: UInt32 = 64
    private static let first: [UInt8] = Array("first".utf8)
    private static let second: [UInt8] = Array("second".utf8)

    /// Two sockets share a buffer, and a completion does not say where in it its bytes begin: they lie behind those of
    /// the completion before. That holds only if completions come in the order in which the bytes were put there. Linux
    /// 6.12 to 6.14, until mended, holds back the last completion of an operation, and lets one that goes on overtake it
    /// (687b2bae0efff9b2, "ensure deferred completions are flushed for multishot", in 6.15). So here one receive that
    /// ends is followed by one that goes on.
    private static func probe() -> Bool {
        guard let ring = makeRing() else { return false }
        defer { cring_destroy(ring) }
        let memory = UnsafeMutableRawPointer.allocate(byteCount: Int(bufferSize), alignment: 16)
        defer { memory.deallocate() }
        var made: OpaquePointer?
        guard cring_buffers_create(ring, 1, 1, 1, memory, bufferSize, &made) == 0, let made else { return false }
        defer { cring_buffers_destroy(ring, made) }
        var id: UInt16 = 0
        cring_buffers_give(made, &id, 1, bufferSize)
        guard let one = SocketPair(sending: first) else { return false }
        defer { one.close() }
        guard let other = SocketPair(sending: second) else { return false }
        defer { other.close() }
        return receivesInOrder(ring, one.receiver, other.receiver, memory)
    }

    private static func makeRing() -> OpaquePointer? {
        guard let ring = UringSetup.createSmallest() else { return nil }
        guard cring_enable(ring) >= 0 else {
            cring_destroy(ring)
            return nil
        }
        return ring
    }

    private static func receivesInOrder(
        _ ring: OpaquePointer, _ one: Int32, _ other: Int32, _ memory: UnsafeMutableRawPointer
    ) -> Bool {
        guard cring_receive(ring, 1, one, 1, 0, 0) == 0, cring_receive(ring, 2, other, 1, 1, 0) == 0 else {
            return false
        }
        defer { end(ring) }
        var offset = 0
        for _ in 0..<2 {
            guard let completion = UringAvailability.completion(ring),
                completion.flags & UInt32(CRING_COMPLETION_BUFFER) != 0,
                completion.flags & UInt32(CRING_COMPLETION_BUFFER_MORE) != 0
            else { return false }
            let expected = completion.user_data == 1 ? first : second
            let bytes = UnsafeRawBufferPointer(start: memory + offset, count: expected.count)
            guard Int(completion.result) == expected.count, bytes.elementsEqual(expected) else { return false }
            offset += expected.count
        }
        return true
    }

    /// Ends what may be in flight before its buffer goes.
    private static func end(_ ring: OpaquePointer) {
        _ = cring_cancel(ring, 3, 1)
        _ = cring_cancel(ring, 4, 2)
        // Two cancellations and, unless they have completed, their targets.
        for _ in 0..<4 { _ = UringAvailability.completion(ring, waitNanoseconds: 1_000_000) }
    }

    private struct SocketPair {
        let receiver: Int32
        private let sender: Int32

        init?(sending bytes: [UInt8]) {
            var pair: [Int32] = [-1, -1]
            let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
            guard socketpair(AF_UNIX, type, 0, &pair) == 0 else { return nil }
            (receiver, sender) = (pair[0], pair[1])
            guard write(sender, bytes, bytes.count) == bytes.count else {
                close()
                return nil
            }
        }

        func close() {
            Glibc.close(receiver)
            Glibc.close(sender)
        }
    }
}
