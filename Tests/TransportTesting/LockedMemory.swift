import Glibc

/// What the kernel lets this process lock (getrlimit(2), RLIMIT_MEMLOCK).
enum LockedMemory {
    /// Whether so many bytes may be locked. The limit counts all of the user's rings and all bytes that are being sent
    /// without copying, except with CAP_IPC_LOCK.
    static func allows(bytes: Int) -> Bool {
        if isUnlimited { return true }
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(__RLIMIT_MEMLOCK.rawValue), &limit)
        return limit.rlim_cur >= UInt64(bytes)
    }

    /// CAP_IPC_LOCK of capabilities(7), in the effective set that proc_pid_status(5) shows in hexadecimal.
    private static var isUnlimited: Bool {
        guard let file = fopen("/proc/self/status", "r") else { return false }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 256)
        let name = "CapEff:\t"
        while fgets(&line, Int32(line.count), file) != nil {
            guard strncmp(line, name, name.utf8.count) == 0 else { continue }
            let ipcLock = 14
            return strtoull(Array(line.dropFirst(name.utf8.count)), nil, 16) & (1 << ipcLock) != 0
        }
        return false
    }
}
