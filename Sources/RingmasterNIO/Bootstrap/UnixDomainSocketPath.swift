import Glibc
import NIOCore

extension NIOCore.SocketAddress {
    /// A path to bind to, where a socket may be removed that is there already; anything else there is an error.
    init(unixDomainSocketPath path: String, cleaningUp: Bool) throws {
        if cleaningUp { try Self.removeSocket(path) }
        try self.init(unixDomainSocketPath: path)
    }

    private static func removeSocket(_ path: String) throws {
        var status = stat()
        guard lstat(path, &status) == 0 else {
            if errno == ENOENT { return }
            throw IOError(errnoCode: errno, reason: "lstat")
        }
        guard status.st_mode & S_IFMT == S_IFSOCK else { throw UnixDomainSocketPathWrongType() }
        if unlink(path) != 0 { throw IOError(errnoCode: errno, reason: "unlink") }
    }
}

/// Something else than a socket is where one is to be made.
public struct UnixDomainSocketPathWrongType: Error {}
