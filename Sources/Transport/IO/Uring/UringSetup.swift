import CRing
import Glibc

/// How large a ring is wanted.
public struct UringConfiguration: Sendable {
    /// Submission queue entries, 1 or more; the kernel rounds up to a power of two. Halved, down to ``submissionEntriesMin``, with
    /// the completion queue.
    public var submissionEntries: UInt32 = 256
    /// Completion queue entries, at least ``submissionEntries``. Quartered, down to ``completionEntriesMin``, while RLIMIT_MEMLOCK refuses them.
    public var completionEntries: UInt32 = 4096

    /// The smallest completion queue worth having.
    public static let completionEntriesMin: UInt32 = 256

    /// The smallest submission queue worth having.
    public static let submissionEntriesMin: UInt32 = 64

    /// The smallest ring a loop makes do with.
    public static var smallest: UringConfiguration {
        var configuration = UringConfiguration()
        configuration.submissionEntries = submissionEntriesMin
        configuration.completionEntries = completionEntriesMin
        return configuration
    }

    /// The defaults: 256 submissions, 4,096 completions.
    public init() {}

    static let sizesCall = "ring sizes"

    /// - Throws: `EINVAL` for sizes that no kernel takes, which is not to be mistaken for a kernel that is too old.
    func validate() throws(SystemError) {
        guard submissionEntries >= 1, completionEntries >= submissionEntries else {
            throw SystemError(Self.sizesCall, code: EINVAL)
        }
    }

    /// What to try when there is no memory for this; nil when there is nothing smaller. The completion queue stays the
    /// larger one, as the kernel wants it (EINVAL).
    var smaller: UringConfiguration? {
        guard completionEntries > Self.completionEntriesMin else { return nil }
        var smaller = self
        smaller.completionEntries = max(completionEntries / 4, Self.completionEntriesMin)
        smaller.submissionEntries = min(
            max(submissionEntries / 2, Self.submissionEntriesMin), smaller.completionEntries)
        return smaller
    }
}

/// Creates rings: tries the best set-up first and takes what this kernel gives.
enum UringSetup {
    private static let always = UInt32(CRING_SETUP_CQSIZE | CRING_SETUP_CLAMP | CRING_SETUP_R_DISABLED)

    /// Set-up flags from best to plainest. The kernel says EINVAL to a flag that it does not know.
    static let ladder: [UInt32] = [
        always | UInt32(CRING_SETUP_SUBMIT_ALL | CRING_SETUP_SINGLE_ISSUER | CRING_SETUP_DEFER_TASKRUN),
        always | UInt32(CRING_SETUP_SUBMIT_ALL | CRING_SETUP_SINGLE_ISSUER | CRING_SETUP_COOP_TASKRUN),
        always | UInt32(CRING_SETUP_SUBMIT_ALL),
        always,
    ]

    /// The kernel frees a dead ring's locked memory a little later than the ring, so a refusal for want of
    /// memory is tried again: this often, so many milliseconds apart, before the ring is made smaller.
    private static let memoryRetries = 3
    private static let memoryRetryMilliseconds: UInt32 = 20

    /// A disabled ring with its buffers, and the flags it was made with.
    struct Made {
        var ring: OpaquePointer
        var buffers: UringBuffers
        var flags: UInt32

        func destroy() {
            buffers.destroy(ring)
            cring_destroy(ring)
        }
    }

    /// The largest ring that the configuration and RLIMIT_MEMLOCK allow.
    static func create(
        _ configuration: UringConfiguration, _ buffers: ReceiveBufferConfiguration
    ) throws(SystemError) -> Made {
        try configuration.validate()
        try buffers.validate()
        var buffers = buffers
        // Asked before there is a ring, since the answer needs one too, and locked memory may be tight.
        if buffers.isIncremental { buffers.isIncremental = UringIncremental.isSupported }
        var sizes = configuration
        while true {
            do {
                return try createOnce(sizes, buffers)
            } catch {
                guard error.code == ENOMEM, let smaller = sizes.smaller else { throw error }
                sizes = smaller
            }
        }
    }

    private static func createOnce(
        _ sizes: UringConfiguration, _ buffers: ReceiveBufferConfiguration
    ) throws(SystemError) -> Made {
        var rung = 0
        var retries = 0
        while true {
            do throws(SystemError) {
                return try create(sizes, buffers, flags: ladder[rung])
            } catch {
                if error.code == EINVAL, rung + 1 < ladder.count {
                    rung += 1
                } else if error.code == ENOMEM, retries < memoryRetries {
                    retries += 1
                    usleep(memoryRetryMilliseconds * 1000)
                } else {
                    throw error
                }
            }
        }
    }

    private static func create(
        _ sizes: UringConfiguration, _ configuration: ReceiveBufferConfiguration, flags: UInt32
    ) throws(SystemError) -> Made {
        let ring = try createRing(sizes, flags: flags)
        do throws(SystemError) {
            return Made(ring: ring, buffers: try UringBuffers(ring, configuration), flags: flags)
        } catch {
            cring_destroy(ring)
            throw error
        }
    }

    private static func createRing(_ sizes: UringConfiguration, flags: UInt32) throws(SystemError) -> OpaquePointer {
        var ring: OpaquePointer?
        let result = cring_create(flags, sizes.submissionEntries, sizes.completionEntries, &ring)
        guard result == 0, let ring else { throw SystemError("io_uring_setup", code: result) }
        return ring
    }

    /// The smallest ring, with the best flags and without buffers, or nil: to try something on.
    static func createSmallest() -> OpaquePointer? {
        for flags in ladder {
            if let ring = try? createRing(.smallest, flags: flags) { return ring }
        }
        return nil
    }
}
