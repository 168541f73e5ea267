import Glibc

/// Keeps other processes from taking over a socket's path at the same time. Between bind(2) and listen(2) a path looks left
/// behind, so whoever finds it stale then would take another's fresh one.
///
/// It is flock(2) on a file beside the path, which goes with the lock. Only this user can open it.
struct PathLock: ~Copyable {
    enum Failure: Error {
        /// Another process has it, for longer than it takes to begin listening.
        case held
        /// The file cannot be made, or is another user's: an errno value.
        case unavailable(Int32)
    }

    private static let attemptsMax = 100
    private static let pauseMicroseconds: useconds_t = 5_000

    private let file: String
    private let descriptor: Int32

    static func fileName(of path: String) -> String { "\(path).lock" }

    /// Waits half a second for it at most.
    init(_ path: String) throws(Failure) {
        file = Self.fileName(of: path)
        for _ in 0..<Self.attemptsMax {
            let descriptor = open(file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
            guard descriptor >= 0 else { throw .unavailable(errno) }
            if flock(descriptor, LOCK_EX | LOCK_NB) == 0 {
                switch Self.owner(of: descriptor, named: file) {
                case .us:
                    self.descriptor = descriptor
                    return
                // Whoever had the lock has removed the file.
                case .nobody: close(descriptor)
                case .somebody:
                    close(descriptor)
                    throw .unavailable(EACCES)
                }
            } else {
                let code = errno
                close(descriptor)
                guard code == EWOULDBLOCK || code == EINTR else { throw .unavailable(code) }
                usleep(Self.pauseMicroseconds)
            }
        }
        throw .held
    }

    deinit {
        unlink(file)
        close(descriptor)
    }

    private enum Owner { case us, nobody, somebody }

    /// Whose the open file is that has this name, if it still has it.
    private static func owner(of descriptor: Int32, named name: String) -> Owner {
        var (opened, named) = (stat(), stat())
        guard fstat(descriptor, &opened) == 0, lstat(name, &named) == 0, opened.st_dev == named.st_dev,
            opened.st_ino == named.st_ino
        else { return .nobody }
        return opened.st_uid == geteuid() ? .us : .somebody
    }
}
