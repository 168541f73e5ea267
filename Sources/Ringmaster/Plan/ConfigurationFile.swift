import Glibc

/// The bytes of a configuration file.
enum ConfigurationFile {
    /// The most bytes that one may have.
    static let sizeMax = 1 << 20

    /// Reads a file that can be read again at the next reload.
    static func read(_ path: String) throws(CommandError) -> [UInt8] {
        guard path != "-" else {
            throw CommandError(
                .badUsage, "--config -: standard input cannot be read again by a reload: give the path of a file")
        }
        // A pipe without a writer must not make us wait.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
        guard descriptor >= 0 else { throw failed(path) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw failed(path) }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw CommandError(
                .badUsage, "--config \(path): it is no regular file, which a reload could read again")
        }
        return try bytes(of: descriptor, path)
    }

    private static func bytes(of descriptor: Int32, _ path: String) throws(CommandError) -> [UInt8] {
        var count = 0
        var code: Int32 = 0
        // A byte more than allowed tells a file that is too large, even one that grows meanwhile.
        let bytes = [UInt8](unsafeUninitializedCapacity: sizeMax + 1) { buffer, initialized in
            while count < buffer.count {
                let taken = Glibc.read(descriptor, buffer.baseAddress! + count, buffer.count - count)
                if taken < 0, errno == EINTR { continue }
                if taken < 0 { code = errno }
                if taken <= 0 { break }
                count += taken
            }
            initialized = count
        }
        guard code == 0 else {
            errno = code
            throw failed(path)
        }
        guard bytes.count <= sizeMax else {
            throw CommandError(.badUsage, "--config \(path): it is larger than \(sizeMax) bytes, the most there may be")
        }
        return bytes
    }

    private static func failed(_ path: String) -> CommandError {
        CommandError(.badUsage, "--config \(path): \(String(cString: strerror(errno)))")
    }
}
