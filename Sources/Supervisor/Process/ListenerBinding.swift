import Glibc
import Handoff
import Transport

/// Binds listeners, and says in a sentence what stands in the way.
///
/// The path of a Unix-domain socket outlives its server when that crashes. Such a path is taken over; one on which
/// somebody answers is not.
public enum ListenerBinding {
    /// A bound, listening socket, close-on-exec, for the caller to close.
    ///
    /// - Throws: `cannotBind` or `limitTooLow`, with the remedy.
    public static func bind(_ plan: ListenerPlan) throws(PlanError) -> Int32 {
        do throws(SystemError) {
            guard case .unix(let path) = plan.address, path.utf8.first == UInt8(ascii: "/") else {
                return try Socket.listen(plan.address, backlog: plan.backlog)
            }
            return try UnixPath(path).listen(backlog: plan.backlog)
        } catch {
            let code = [EMFILE, ENFILE].contains(error.code) ? ExitCode.limitTooLow : .cannotBind
            throw PlanError(code, "cannot listen on \(plan.address): \(error.remedy(plan.address))")
        }
    }

    /// Closes sockets that ``bind(_:)`` made and nobody has taken over, and removes their paths.
    public static func undo(_ listeners: [Int32]) {
        for listener in listeners {
            if case .unix(let path)? = Socket.localAddress(of: listener), path.utf8.first == UInt8(ascii: "/") {
                unlink(path)
            }
            close(listener)
        }
    }
}

/// A path to listen on.
private struct UnixPath {
    private enum Occupant {
        /// A socket that its server has left behind.
        case nobody
        /// It has gone meanwhile.
        case nothing
        /// A server, another file, or what this process may not find out about.
        case somebody
    }

    private let path: String

    init(_ path: String) {
        self.path = path
    }

    func listen(backlog: Int32) throws(SystemError) -> Int32 {
        // Where there can be no lock, nothing is taken over.
        guard let lock = try? PathLock(path) else { return try bindAndListen(backlog) }
        let listener = try takeOver(backlog)
        withExtendedLifetime(lock) {}
        return listener
    }

    private func takeOver(_ backlog: Int32) throws(SystemError) -> Int32 {
        do throws(SystemError) {
            return try bindAndListen(backlog)
        } catch {
            guard error.code == EADDRINUSE else { throw error }
            switch occupant {
            case .somebody: throw error
            case .nobody: unlink(path)
            case .nothing: break
            }
            return try bindAndListen(backlog)
        }
    }

    private func bindAndListen(_ backlog: Int32) throws(SystemError) -> Int32 {
        do throws(SystemError) {
            return try Socket.listen(.unix(path: path), backlog: backlog)
        } catch {
            // bind(2) has made the path, and nobody else would remove it.
            if error.call == "listen" { unlink(path) }
            throw error
        }
    }

    private var occupant: Occupant {
        var status = stat()
        guard lstat(path, &status) == 0 else { return errno == ENOENT ? .nothing : .somebody }
        guard status.st_mode & S_IFMT == S_IFSOCK else { return .somebody }
        // Not to wait where the queue is full: that tells EAGAIN, and a server.
        let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let probe = socket(AF_UNIX, kind, 0)
        guard probe >= 0 else { return .somebody }
        defer { close(probe) }
        let result = SocketAddress.unix(path: path).withSockaddr { connect(probe, $0, $1) }
        guard result < 0 else { return .somebody }
        switch errno {
        // unix(7): the path's socket is bound by no process any more, or does not listen.
        case ECONNREFUSED: return .nobody
        case ENOENT: return .nothing
        default: return .somebody
        }
    }
}

extension SystemError {
    /// What failed, and how to mend it.
    fileprivate func remedy(_ address: SocketAddress) -> String {
        switch (code, address) {
        case (EADDRINUSE, .unix(let path)) where Self.isSocket(path):
            "a server answers there, or may; stop it, or, if there is none, remove the path: rm '\(path)'"
        case (EADDRINUSE, .unix(let path)) where path.utf8.first == UInt8(ascii: "@"):
            "the name is in use; stop the other server (ss -lxp shows it) or choose another"
        case (EADDRINUSE, .unix):
            "the path exists and is not a socket; choose another"
        case (EMFILE, _), (ENFILE, _):
            "no descriptor is left; raise RLIMIT_NOFILE with ulimit -n, or listen on fewer addresses"
        case (EADDRINUSE, _):
            "the address is in use; stop the other server (ss -ltnp shows it) or choose another port"
        case (EACCES, .unix):
            "permission denied; the directory must be writable for this user"
        case (EACCES, _):
            "permission denied; ports below 1024 need CAP_NET_BIND_SERVICE"
        case (EADDRNOTAVAIL, _):
            "no interface of this machine has this address (ip addr shows them)"
        case (ENOENT, .unix):
            "the directory does not exist"
        default:
            description
        }
    }

    private static func isSocket(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFSOCK
    }
}
