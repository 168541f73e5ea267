import Glibc

/// Takes every descriptor that is left, until released. For a test in a process of its own.
final class FullTable {
    private var taken: [Int32] = []

    init() {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        limit.rlim_cur = 128
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        // libdispatch closes an eventfd a little after the process has begun: that number is taken, too.
        var quietRounds = 0
        while quietRounds < 20 {
            quietRounds = take() == 0 ? quietRounds + 1 : 0
            usleep(5000)
        }
    }

    private func take() -> Int {
        let before = taken.count
        while case let fd = dup(0), fd >= 0 { taken.append(fd) }
        precondition(errno == EMFILE)
        return taken.count - before
    }

    func release() {
        for fd in taken { close(fd) }
        taken = []
    }
}
