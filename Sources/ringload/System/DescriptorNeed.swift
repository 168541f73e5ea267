import Glibc

/// The descriptors of a run, for RLIMIT_NOFILE.
struct DescriptorNeed: Equatable {
    /// Standard streams, ring, eventfd, signalfd, and what the C library opens for a moment.
    static let reserve = 64

    /// A process that may have fewer connections than this is not worth starting beside others.
    private static let worthwhile = 100

    let connections: Int

    var needed: Int { connections + Self.reserve }

    /// The limit to ask for when this one is in force; nil when it will do. A process with CAP_SYS_RESOURCE may raise the hard
    /// limit too, up to fs.nr_open.
    func raised(soft: Int, hard: Int) -> (soft: Int, hard: Int)? {
        soft >= needed ? nil : (needed, max(hard, needed))
    }

    /// What to say when the kernel does not allow it.
    func shortage(hard: Int) -> LoadError {
        let room = hard - Self.reserve
        let several =
            room < Self.worthwhile
            ? ""
            : ", or start several ringload processes of at most \(room) connections, each with --source addresses of its own"
        return LoadError(
            .system,
            "\(connections) \(connections == 1 ? "connection needs" : "connections need") \(needed) descriptors, and "
                + "RLIMIT_NOFILE allows \(hard): raise its hard limit (ulimit -Hn \(needed) as root, LimitNOFILE= in a unit, "
                + "docker run --ulimit nofile=\(needed))\(several)"
        )
    }

    /// Raises the limit of this process (setrlimit(2)).
    func raiseLimit() throws(LoadError) {
        let resource = Int32(RLIMIT_NOFILE.rawValue)
        var limit = rlimit()
        // It fails for a bad address or an unknown resource only.
        _ = getrlimit(resource, &limit)
        let hard = Int(clamping: limit.rlim_max)
        guard let raised = raised(soft: Int(clamping: limit.rlim_cur), hard: hard) else { return }
        limit.rlim_cur = rlim_t(raised.soft)
        if raised.hard > hard { limit.rlim_max = rlim_t(raised.hard) }
        guard setrlimit(resource, &limit) == 0 else { throw shortage(hard: hard) }
    }
}
