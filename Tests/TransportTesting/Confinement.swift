import Glibc

@testable import Transport

/// What takes system calls and memory from a process, for tests in processes of their own: there is no way back.
enum Confinement {
    /// Denies the three system calls of io_uring with `code` by a seccomp filter, to all threads.
    static func denyRing(with code: Int32) throws {
        // io_uring_setup, io_uring_enter and io_uring_register have these numbers on every architecture but Alpha.
        try deny(425...427, with: code)
    }

    /// Denies splice(2) in the same way.
    static func denySplice(with code: Int32) throws {
        #if arch(x86_64)
            try deny(275...275, with: code)
        #else
            try deny(76...76, with: code)
        #endif
    }

    private static func deny(_ calls: ClosedRange<UInt64>, with code: Int32) throws {
        // Each is a sock_filter (seccomp(2)): 16 bits of code, 8 of jump if true, 8 of jump if false, 32 of operand.
        let program: [UInt64] = [
            0x20,  // load the system call's number, at offset 0 of seccomp_data
            0x35 | 2 << 24 | calls.lowerBound << 32,  // below the first: allow
            0x25 | 1 << 16 | calls.upperBound << 32,  // above the last: allow
            0x06 | (0x0005_0000 | UInt64(code)) << 32,  // SECCOMP_RET_ERRNO
            0x06 | 0x7fff_0000 << 32,  // SECCOMP_RET_ALLOW
        ]
        // prctl(2) and syscall(2) take variable arguments, which Swift cannot pass: these are the calls that are made.
        typealias Prctl = @convention(c) (Int32, UInt, UInt, UInt, UInt) -> Int32
        typealias Syscall = @convention(c) (Int, UInt, UInt, UnsafeRawPointer) -> Int
        let prctl = unsafeBitCast(dlsym(nil, "prctl"), to: Prctl.self)
        let syscall = unsafeBitCast(dlsym(nil, "syscall"), to: Syscall.self)
        let noNewPrivileges: Int32 = 38
        if prctl(noNewPrivileges, 1, 0, 0, 0) != 0 { throw SystemError.last("prctl") }
        #if arch(x86_64)
            let seccomp = 317
        #else
            let seccomp = 277
        #endif
        let (setModeFilter, threadSync) = (UInt(1), UInt(1))
        let result = program.withUnsafeBufferPointer { program in
            // struct sock_fprog: a 16-bit count, padding, the pointer.
            let header = (UInt(program.count), UInt(bitPattern: program.baseAddress))
            return withUnsafePointer(to: header) { syscall(seccomp, setModeFilter, threadSync, $0) }
        }
        if result != 0 { throw SystemError.last("seccomp") }
    }

    /// Allows so many bytes of locked memory at most, and drops the privilege to have more.
    static func limitLockedMemory(bytes: UInt) throws {
        // Or fewer: who is unprivileged already may not raise the limit he was born with.
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(__RLIMIT_MEMLOCK.rawValue), &limit)
        let allowed = min(bytes, limit.rlim_max)
        limit = rlimit(rlim_cur: allowed, rlim_max: allowed)
        if setrlimit(__rlimit_resource_t(__RLIMIT_MEMLOCK.rawValue), &limit) != 0 {
            throw SystemError.last("setrlimit")
        }
        // The kernel charges all processes of a user together: a user of one's own, so that tests keep out of each other's way.
        let user = 100_000 + uid_t(getpid())
        if getuid() == 0, setuid(user) != 0 { throw SystemError.last("setuid") }
    }
}
