import Glibc
import Transport

/// Why there is no control socket: a sentence that says what to do.
public struct ControlSocketError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The sentence, without a full stop at its end.
    public var description: String
}

/// The control socket's name in the file system and the listening socket behind it.
///
/// Only the owner and root can ever connect: the mode is set before anybody can. The kernel gives a socket file the mode of
/// the socket itself less the umask (unix_bind() in net/unix/af_unix.c), so fchmod(2) before bind(2) leaves no moment with
/// another one; and until listen(2), which comes last, every connect(2) is refused.
struct ControlSocket: Codable {
    let path: String
    let descriptor: Int32
    /// The file that bind(2) made: another may have taken its name since.
    private let device: UInt64
    private let inode: UInt64

    static let mode: mode_t = 0o600
    private static let backlog: Int32 = 64

    /// Listens at `path`, in non-blocking mode, close-on-exec. A socket there that nobody listens on any more, a crashed
    /// supervisor's, is replaced; anything else is left alone, and an error.
    static func listen(at path: String) throws(ControlSocketError) -> ControlSocket {
        try check(path)
        let lock = try lock(path)
        if try isStale(path), unlink(path) != 0, errno != ENOENT {
            throw failure("cannot remove what a former supervisor left at", path, errno)
        }
        let socket = try bind(path)
        withExtendedLifetime(lock) {}
        return socket
    }

    /// Removes the name, unless it is another socket's by now. The descriptor stays open.
    func removeName() {
        guard let file = Self.file(at: path), file.device == device, file.inode == inode else { return }
        unlink(path)
    }

    private static func check(_ path: String) throws(ControlSocketError) {
        let lengthMax = SocketAddress.unixPathLengthMax
        guard !path.isEmpty, path.utf8.count <= lengthMax, !path.utf8.contains(0) else {
            throw ControlSocketError(
                description: "the control socket's path '\(path)' has \(path.utf8.count) bytes: "
                    + "give a path of 1 to \(lengthMax)")
        }
        guard !path.hasPrefix("@") else {
            throw ControlSocketError(
                description: "the control socket '\(path)' would be open to everybody: give a path in the file system")
        }
    }

    private static func lock(_ path: String) throws(ControlSocketError) -> PathLock? {
        do throws(PathLock.Failure) {
            return try PathLock(path)
        } catch {
            switch error {
            case .held:
                let file = PathLock.fileName(of: path)
                throw ControlSocketError(
                    description: "another process is about to make the control socket \(path), and holds \(file) "
                        + "locked: try again, or end it (fuser \(file) shows it)")
            // bind(2) will tell, or do without.
            case .unavailable(EACCES), .unavailable(EPERM), .unavailable(EROFS): return nil
            case .unavailable(let code): throw failure("cannot make the control socket", path, code)
            }
        }
    }

    /// Whether a socket is at `path` that nobody listens on. False when there is nothing.
    private static func isStale(_ path: String) throws(ControlSocketError) -> Bool {
        guard let file = file(at: path) else { return false }
        guard file.isSocket else {
            throw ControlSocketError(
                description: "\(path) exists and is no socket: give the control socket another path, or remove the file"
            )
        }
        let fd = try stream(path)
        defer { close(fd) }
        _ = fcntl(fd, F_SETFL, O_NONBLOCK)
        let result = SocketAddress.unix(path: path).withSockaddr { connect(fd, $0, $1) }
        switch result == 0 ? 0 : errno {
        case ECONNREFUSED: return true
        case ENOENT: return false
        // EAGAIN: its queue is full, but somebody listens.
        case 0, EAGAIN:
            throw ControlSocketError(
                description: "a running supervisor answers at the control socket \(path): "
                    + "stop it (its stop command, with the same --control), or give this one another path")
        case let code: throw failure("cannot tell who listens at the control socket", path, code)
        }
    }

    private static func bind(_ path: String) throws(ControlSocketError) -> ControlSocket {
        let fd = try stream(path)
        let result = SocketAddress.unix(path: path).withSockaddr { address, length in
            fchmod(fd, mode) == 0 && fcntl(fd, F_SETFL, O_NONBLOCK) == 0 ? Glibc.bind(fd, address, length) : -1
        }
        guard result == 0 else {
            let code = errno
            close(fd)
            throw failure("cannot make the control socket", path, code)
        }
        guard Glibc.listen(fd, backlog) == 0, let file = file(at: path) else {
            let code = errno
            unlink(path)
            close(fd)
            throw failure("cannot listen at the control socket", path, code)
        }
        return ControlSocket(path: path, descriptor: fd, device: file.device, inode: file.inode)
    }

    private static func stream(_ path: String) throws(ControlSocketError) -> Int32 {
        let fd = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        if fd < 0 { throw failure("cannot make the control socket", path, errno) }
        return fd
    }

    /// What has the name `path`; a symbolic link is not followed. Nil when there is nothing, or it cannot be seen.
    private static func file(at path: String) -> (device: UInt64, inode: UInt64, isSocket: Bool)? {
        var status = stat()
        guard lstat(path, &status) == 0 else { return nil }
        return (UInt64(status.st_dev), UInt64(status.st_ino), status.st_mode & S_IFMT == S_IFSOCK)
    }

    private static func failure(_ what: String, _ path: String, _ code: Int32) -> ControlSocketError {
        ControlSocketError(description: "\(what) \(path): \(String(cString: strerror(code)))")
    }
}
