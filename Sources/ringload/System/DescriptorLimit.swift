import Glibc

/// RLIMIT_NOFILE, raised to what a run needs.
enum DescriptorLimit {
    /// Standard streams, ring, eventfd, signalfd, and what the C library opens for a moment.
    static let reserve = 64

    /// Makes room for so many connections: raises the soft limit, and the hard one where this process may.
    static func raise(forConnections connections: Int) throws(LoadError) {
        let needed = rlim_t(connections + reserve)
        let resource = Int32(RLIMIT_NOFILE.rawValue)
        var limit = rlimit()
        _ = getrlimit(resource, &limit)
        guard limit.rlim_cur < needed else { return }
        // The kernel lets a process with CAP_SYS_RESOURCE raise the hard limit up to fs.nr_open.
        var raised = rlimit(rlim_cur: needed, rlim_max: max(limit.rlim_max, needed))
        guard setrlimit(resource, &raised) != 0 else { return }
        let possible = max(1, Int(limit.rlim_max) - reserve)
        throw LoadError(
            .system,
            "\(connections) connections need \(needed) descriptors, and RLIMIT_NOFILE allows \(limit.rlim_max): raise its hard "
                + "limit (ulimit -Hn \(needed) as root, LimitNOFILE= in a unit, docker run --ulimit nofile=\(needed)), or start "
                + "several ringload processes of at most \(possible) connections, each with --source addresses of its own"
        )
    }
}
