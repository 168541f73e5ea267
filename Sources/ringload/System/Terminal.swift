import Glibc

/// Where ringload speaks.
enum Terminal {
    static func say(_ text: String) { _ = write(text + "\n", to: STDOUT_FILENO) }
    static func complain(_ text: String) { _ = write("ringload: \(text)\n", to: STDERR_FILENO) }
    static func complainPlainly(_ text: String) { _ = write(text + "\n", to: STDERR_FILENO) }

    /// Writes all of it, as long as there is somebody to read it; else returns false, and errno says why.
    static func write(_ text: String, to fd: Int32) -> Bool {
        var text = text
        return text.withUTF8 { bytes in
            var rest = UnsafeRawBufferPointer(bytes)
            while !rest.isEmpty {
                let count = Glibc.write(fd, rest.baseAddress, rest.count)
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { return false }
                rest = UnsafeRawBufferPointer(rebasing: rest[count...])
            }
            return true
        }
    }

    /// Writes `text` to a file that is made or replaced; `-` is standard output.
    static func write(_ text: String, toFile path: String) throws(LoadError) {
        if path == "-" { return say(text) }
        let fd = openFile(path, O_TRUNC)
        defer { if fd >= 0 { close(fd) } }
        guard fd >= 0, write(text + "\n", to: fd) else { throw unwritable(.system, path, errno) }
    }

    /// Makes sure that the file can be written, and leaves what is in it.
    static func checkWritable(_ path: String) throws(LoadError) {
        guard path != "-" else { return }
        let fd = openFile(path, 0)
        guard fd >= 0 else { throw unwritable(.usage, path, errno) }
        close(fd)
    }

    private static func openFile(_ path: String, _ flags: Int32) -> Int32 {
        open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0o644)
    }

    private static func unwritable(_ kind: LoadError.Kind, _ path: String, _ code: Int32) -> LoadError {
        let remedy =
            switch code {
            case ENOENT: "make its directory first, or name another file"
            case EISDIR: "name a file in that directory"
            case ENOSPC, EDQUOT: "make room, or name a file on another disk"
            default: "name a file that this user can write"
            }
        return LoadError(kind, "--json \(path): cannot write it: \(String(cString: strerror(code))): \(remedy)")
    }
}
