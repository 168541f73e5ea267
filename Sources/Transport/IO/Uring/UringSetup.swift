import CRing
import Glibc

/// How large a ring is wanted.
public struct UringConfiguration: Sendable {
    /// Submission queue entries; the kernel rounds up to a power of two.
    public var submissionEntries: UInt32 = 256
    /// Completion queue entries. Halved, down to ``completionEntriesMin``, while RLIMIT_MEMLOCK refuses them.
    public var completionEntries: UInt32 = 4096
    /// Receive buffers, a power of two up to 32,768.
    public var bufferCount: UInt32 = 256
    /// Bytes of each receive buffer.
    public var bufferSize: UInt32 = 16 * 1024

    /// The smallest completion queue worth having.
    public static let completionEntriesMin: UInt32 = 256

    /// The defaults: 256 submissions, 4,096 completions, 256 buffers of 16 KiB.
    public init() {}
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

    /// A disabled ring, with the flags it was made with.
    static func create(_ configuration: UringConfiguration) throws(SystemError) -> (ring: OpaquePointer, flags: UInt32)
    {
        var completionEntries = configuration.completionEntries
        var submissionEntries = configuration.submissionEntries
        while true {
            do {
                return try create(submissionEntries: submissionEntries, completionEntries: completionEntries)
            } catch {
                guard error.code == ENOMEM, completionEntries > UringConfiguration.completionEntriesMin else {
                    throw error
                }
                completionEntries = max(completionEntries / 4, UringConfiguration.completionEntriesMin)
                submissionEntries = max(submissionEntries / 2, 64)
            }
        }
    }

    private static func create(
        submissionEntries: UInt32, completionEntries: UInt32
    ) throws(SystemError) -> (ring: OpaquePointer, flags: UInt32) {
        var rung = 0
        var retries = 0
        while true {
            var ring: OpaquePointer?
            let result = cring_create(ladder[rung], submissionEntries, completionEntries, &ring)
            if result == 0, let ring { return (ring, ladder[rung]) }
            if result == -EINVAL, rung + 1 < ladder.count {
                rung += 1
            } else if result == -ENOMEM, retries < memoryRetries {
                retries += 1
                usleep(memoryRetryMilliseconds * 1000)
            } else {
                throw SystemError("io_uring_setup", code: result)
            }
        }
    }
}
