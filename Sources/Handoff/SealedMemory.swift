import CSocket
import Glibc

/// Bytes for another process in a memfd that nobody can change any more (memfd_create(2), F_ADD_SEALS of fcntl(2)).
public enum SealedMemory {
    /// A new memfd with these bytes, close-on-exec; the caller closes it. `name` shows in /proc only.
    public static func make(_ bytes: [UInt8], name: String) throws(HandoffError) -> Int32 {
        let descriptor = csocket_memfd_sealed(name, bytes, bytes.count)
        guard descriptor >= 0 else { throw HandoffError(call: "memfd_create", errno: -descriptor) }
        return descriptor
    }

    /// All bytes of a memfd that another process made. The descriptor may be anything: whatever is not a memfd sealed
    /// against every change is refused with EINVAL before it is read, so this never waits for anybody, and one of more
    /// than `sizeMax` bytes is refused with EFBIG. The descriptor stays open.
    public static func read(_ descriptor: Int32, sizeMax: Int) throws(HandoffError) -> [UInt8] {
        let size = csocket_memfd_sealed_size(descriptor)
        guard size >= 0 else { throw HandoffError(call: "sealed memfd", errno: Int32(-size)) }
        guard size <= sizeMax else { throw HandoffError(call: "sealed memfd", errno: EFBIG) }
        var failure: Int32 = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: Int(size)) { buffer, count in
            while count < Int(size) {
                let taken = pread(descriptor, buffer.baseAddress! + count, Int(size) - count, off_t(count))
                if taken < 0 && errno == EINTR { continue }
                // Sealed at this size, so it does not end early; a descriptor open for writing only cannot be read.
                guard taken > 0 else {
                    failure = taken < 0 ? errno : EIO
                    return
                }
                count += taken
            }
        }
        guard failure == 0 else { throw HandoffError(call: "pread", errno: failure) }
        return bytes
    }
}
