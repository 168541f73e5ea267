import CRing
import Glibc

/// Whether this process can have the ring that ``EventLoop`` wants, found by making one and using it.
public enum UringAvailability: Sendable {
    /// It works.
    case available(UringFeatures)
    /// It does not, and why.
    case unavailable(UringUnavailability)
}

/// What the kernel gave.
public struct UringFeatures: Sendable {
    /// The set-up flags of the best ring that could be made, as io_uring_setup(2) names them.
    public var setupFlags: [String]
    /// Submission queue entries.
    public var submissionEntries: UInt32
    /// Completion queue entries: fewer than asked for when RLIMIT_MEMLOCK is tight.
    public var completionEntries: UInt32
    /// Entering by a registered ring descriptor works (Linux 5.18).
    public var hasRegisteredRing: Bool
    /// Incremental buffer rings are there and reliable (Linux 6.12, and completions in the order of their bytes).
    /// Tried at the first look, once per process.
    public var hasIncrementalBuffers: Bool { UringIncremental.isSupported }
    /// A receive can be told to end after so many bytes (Linux 6.17), which keeps one connection from taking every buffer.
    public var hasReceiveLimit: Bool
}

/// Why there is no ring, and what helps.
public enum UringUnavailability: Error, Hashable, Sendable {
    /// A seccomp filter denies the system calls, with this errno.
    case seccomp(code: Int32)
    /// `kernel.io_uring_disabled` is 1 or 2 (Linux 6.6).
    case disabledBySysctl(value: Int)
    /// RLIMIT_MEMLOCK is too low for even the smallest ring; bytes.
    case lockedMemory(limitBytes: UInt64)
    /// The kernel has no io_uring, or an old one: what is missing.
    case oldKernel(missing: String)
    /// The user wants none.
    case switchedOff
    /// Another failure.
    case failed(SystemError)
}

extension UringUnavailability: CustomStringConvertible {
    /// One line: the cause, and the remedy.
    public var description: String {
        switch self {
        case .seccomp(let code):
            "io_uring is denied by a seccomp filter, not by the kernel itself (\(Self.name(code))): run the container with "
                + "--security-opt seccomp=docker/seccomp.json, which allows io_uring_setup, io_uring_enter and "
                + "io_uring_register"
        case .disabledBySysctl(let value):
            "io_uring is switched off on this machine (kernel.io_uring_disabled=\(value)): set it to 0 on the host "
                + "with sysctl -w kernel.io_uring_disabled=0"
        case .lockedMemory(let limit):
            "io_uring needs more locked memory than RLIMIT_MEMLOCK allows (\(limit) bytes, shared by all processes of "
                + "this user): raise it, for example with ulimit -l 65536 or docker run --ulimit memlock=67108864"
        case .oldKernel(let missing):
            "this kernel's io_uring lacks \(missing): Linux 6.1 or newer is needed"
        case .switchedOff:
            "io_uring was not asked for"
        case .failed(let error):
            "io_uring cannot be used: \(error)"
        }
    }

    private static func name(_ code: Int32) -> String {
        switch code {
        case EPERM: "EPERM"
        case EACCES: "EACCES"
        case ENOSYS: "ENOSYS"
        default: "errno \(code)"
        }
    }
}

extension UringAvailability {
    private static let flagNames: [(UInt32, String)] = [
        (UInt32(CRING_SETUP_SUBMIT_ALL), "SUBMIT_ALL"), (UInt32(CRING_SETUP_SINGLE_ISSUER), "SINGLE_ISSUER"),
        (UInt32(CRING_SETUP_DEFER_TASKRUN), "DEFER_TASKRUN"), (UInt32(CRING_SETUP_COOP_TASKRUN), "COOP_TASKRUN"),
        (UInt32(CRING_SETUP_CQSIZE), "CQSIZE"), (UInt32(CRING_SETUP_CLAMP), "CLAMP"),
        (UInt32(CRING_SETUP_R_DISABLED), "R_DISABLED"),
    ]

    private static let operations: [(Int, String)] = [
        (CRING_OPCODE_POLL_ADD, "POLL_ADD"), (CRING_OPCODE_SENDMSG, "SENDMSG"), (CRING_OPCODE_ACCEPT, "ACCEPT"),
        (CRING_OPCODE_ASYNC_CANCEL, "ASYNC_CANCEL"), (CRING_OPCODE_CONNECT, "CONNECT"), (CRING_OPCODE_SEND, "SEND"),
        (CRING_OPCODE_RECV, "RECV"),
    ].map { (Int($0.0), $0.1) }

    /// Makes a ring with the flags and sizes of the real one, passes bytes through it, and removes it. Any thread.
    public static func probe(_ configuration: UringConfiguration = .init()) -> UringAvailability {
        let made: UringSetup.Made
        do throws(SystemError) {
            made = try UringSetup.create(configuration, .init())
        } catch {
            return .unavailable(cause(of: error))
        }
        defer { made.destroy() }
        let ring = made.ring
        let registered = cring_enable(ring)
        if registered < 0 { return .unavailable(.failed(SystemError("io_uring_register", code: registered))) }
        for (opcode, name) in operations where cring_supports(ring, UInt8(opcode)) == 0 {
            return .unavailable(.oldKernel(missing: "the operation \(name)"))
        }
        if let failure = passBytes(made) { return .unavailable(failure) }
        return .available(
            UringFeatures(
                setupFlags: flagNames.filter { made.flags & $0.0 != 0 }.map(\.1),
                submissionEntries: cring_sq_entries(ring), completionEntries: cring_cq_entries(ring),
                hasRegisteredRing: registered == 1, hasReceiveLimit: limitsReceives(ring)))
    }

    private static func cause(of error: SystemError) -> UringUnavailability {
        let sysctl = number(inFile: "/proc/sys/kernel/io_uring_disabled") ?? 0
        switch error.code {
        case EPERM where sysctl > 0: return .disabledBySysctl(value: sysctl)
        case EPERM, EACCES: return .seccomp(code: error.code)
        // A filter may also answer ENOSYS, as Podman's does.
        case ENOSYS where isFiltered: return .seccomp(code: ENOSYS)
        case ENOSYS: return .oldKernel(missing: "everything")
        case EINVAL where error.call == UringConfiguration.sizesCall: return .failed(error)
        case EINVAL where error.call.contains("PBUF_RING"): return .oldKernel(missing: "buffer rings")
        case EINVAL: return .oldKernel(missing: "a set-up flag")
        case ENOMEM:
            return .lockedMemory(limitBytes: lockedMemoryLimit)
        default: return .failed(error)
        }
    }

    /// Whether a seccomp filter is in force (`Seccomp: 2` in /proc/self/status, proc(5)).
    private static var isFiltered: Bool {
        guard let file = fopen("/proc/self/status", "r") else { return false }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 256)
        // The file has some sixty lines.
        for _ in 0..<256 {
            guard fgets(&line, Int32(line.count), file) != nil else { return false }
            if strncmp(line, "Seccomp:\t2", 10) == 0 { return true }
        }
        return false
    }

    private static func number(inFile path: String) -> Int? {
        guard let file = fopen(path, "r") else { return nil }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 32)
        guard fgets(&line, Int32(line.count), file) != nil else { return nil }
        return Int(String(decoding: line.prefix { $0 > 32 }.map(UInt8.init(bitPattern:)), as: UTF8.self))
    }

    /// RLIMIT_MEMLOCK in bytes (getrlimit(2)).
    static var lockedMemoryLimit: UInt64 {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(__RLIMIT_MEMLOCK.rawValue), &limit)
        return UInt64(limit.rlim_cur)
    }

    /// Whether so many loops of this user can each have a ring of that size: the kernel charges them all to one
    /// RLIMIT_MEMLOCK. Makes that many at once, and removes them. Any thread.
    public static func fits(rings: Int, of size: UringConfiguration = .smallest) -> Bool {
        var made: [UringSetup.Made] = []
        defer { for ring in made { ring.destroy() } }
        for _ in 0..<rings {
            do throws(SystemError) {
                let ring = try UringSetup.create(size, .init())
                made.append(ring)
                // Smaller than asked for: that is how a shortage shows first.
                if cring_cq_entries(ring.ring) < size.completionEntries { return false }
            } catch {
                return error.code != ENOMEM
            }
        }
        return true
    }

    /// A multishot receive into the buffer ring must deliver twice.
    private static func passBytes(_ made: UringSetup.Made) -> UringUnavailability? {
        let ring = made.ring
        let ids: [UInt16] = [0, 1]
        ids.withUnsafeBufferPointer { made.buffers.give($0, size: made.buffers.memory.size) }
        var pair: [Int32] = [-1, -1]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &pair) == 0 else {
            return .failed(.last("socketpair"))
        }
        defer {
            // Ends the receive before its buffers go.
            shutdown(pair[0], Int32(SHUT_RDWR))
            _ = completion(ring)
            close(pair[0])
            close(pair[1])
        }
        guard cring_receive(ring, 1, pair[0], UringBuffers.streamGroup, 1, 0) == 0 else {
            return .oldKernel(missing: "submissions")
        }
        for _ in 0..<2 {
            var byte: UInt8 = 1
            guard write(pair[1], &byte, 1) == 1 else { return .failed(.last("write")) }
            guard let completion = completion(ring), completion.result == 1,
                completion.flags & UInt32(CRING_COMPLETION_MORE) != 0
            else { return .oldKernel(missing: "multishot receive") }
        }
        return nil
    }

    /// A receive with a limit, which older kernels refuse before they look at the descriptor. Nothing is in flight.
    static func limitsReceives(_ ring: OpaquePointer) -> Bool {
        cring_receive(ring, 1, -1, UringBuffers.streamGroup, 1, 1) == 0 && completion(ring)?.result == -EBADF
    }

    /// One completion, waiting for it at most so long.
    static func completion(_ ring: OpaquePointer, waitNanoseconds: Int64 = 1_000_000_000) -> cring_completion? {
        var completion = cring_completion()
        guard cring_enter(ring, 1, waitNanoseconds) == 0, cring_reap(ring, &completion, 1) == 1 else { return nil }
        return completion
    }
}
