import Glibc

/// The small text files in which the kernel describes the machine, under a root that tests replace.
struct SystemFiles: Sendable {
    /// More than /proc/self/mountinfo has on a host with thousands of containers.
    static let lengthMax = 4 << 20

    /// "" for the machine itself; else a directory that holds copies of `/proc`, `/sys` and so on.
    let root: String

    /// The contents of the file at an absolute path; nil when there is none or it cannot be read.
    func read(_ path: String) -> String? {
        let file = open(root + path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while bytes.count < Self.lengthMax {
            // A file of /proc hands out what fits, piece by piece, until it returns 0.
            let count = Glibc.read(file, &chunk, chunk.count)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { return nil }
            guard count > 0 else { break }
            bytes += chunk[..<count]
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
