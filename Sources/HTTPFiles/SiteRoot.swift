import CSocket
import Glibc
import Synchronization
import Transport

/// A directory whose files are served, and nothing that lies outside: neither `..` nor a symbolic link leads out of it, nor
/// are files served whose name, or that of a directory above, begins with a dot (`.well-known` excepted).
///
/// The directory may be a symbolic link that is turned to another one: it is followed anew every second. Any thread.
final class SiteRoot: Sendable {
    private struct Opened {
        var directory: OwnedDescriptor
        var since: MonotonicTime
    }

    /// As it was given.
    let path: String
    let openFiles: OpenFiles
    private let opened: Mutex<Opened>
    private static let lifetime: Duration = .seconds(1)
    /// How often the kernel may ask for another try.
    private static let triesMax = 100

    /// - Throws: what open(2) says of the directory: ENOENT, ENOTDIR, EACCES, ….
    init(_ path: String, openFiles: OpenFiles = .ofProcess) throws(SystemError) {
        self.path = path
        self.openFiles = openFiles
        opened = Mutex(Opened(directory: try Self.open(path), since: .now))
        // Where the call is not allowed, nothing would ever be found.
        if try file("/") == nil { throw SystemError("openat2", code: ENOENT) }
    }

    private static func open(_ path: String) throws(SystemError) -> OwnedDescriptor {
        let fd = Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if fd < 0 { throw SystemError("open", code: errno) }
        return OwnedDescriptor(fd)
    }

    /// The directory as it is now, or as it was last when it cannot be opened.
    private var directory: OwnedDescriptor {
        let now = MonotonicTime.now
        return opened.withLock { opened in
            if now - opened.since >= Self.lifetime {
                opened.since = now
                if let new = try? Self.open(path) { opened.directory = new }
            }
            return opened.directory
        }
    }

    /// The regular file or directory at an absolute path below the root, decoded; nil when there is none to be served.
    ///
    /// - Throws: EAGAIN, EMFILE, ENFILE, ENOMEM, ENOSYS, EPERM: what is no answer about the file.
    func file(_ path: String) throws(SystemError) -> SiteFile? {
        guard Self.isVisible(path) else { return nil }
        let relative = Self.relative(path)
        let directory = directory
        var fd = csocket_open_beneath(directory.fd, relative)
        // A rename anywhere while a link led through ".." (openat2(2)).
        for _ in 1..<Self.triesMax where fd == -EAGAIN { fd = csocket_open_beneath(directory.fd, relative) }
        switch -fd {
        case ...0:
            let descriptor = OwnedDescriptor(fd)
            guard openFiles.take() else { throw SystemError("openat2", code: EMFILE) }
            return SiteFile(descriptor, openFiles)
        case EAGAIN, EMFILE, ENFILE, ENOMEM, ENOSYS, EPERM: throw SystemError("openat2", code: fd)
        default: return nil
        }
    }

    /// Whether no part of the path is hidden, or would be cut off by the kernel at a zero byte.
    static func isVisible(_ path: String) -> Bool {
        // As the kernel takes it apart: a Character may be more than its slash or dot.
        var path = path
        return path.withUTF8 { path in
            var before = UInt8(ascii: "/")
            for (index, byte) in path.enumerated() {
                if byte == 0 { return false }
                if byte == UInt8(ascii: "."), before == UInt8(ascii: "/"),
                    !path[index...].prefix(while: { $0 != UInt8(ascii: "/") }).elementsEqual(".well-known".utf8)
                {
                    return false
                }
                before = byte
            }
            return true
        }
    }

    /// Whether there may be something at a path as ``file(_:)`` has it, without opening it. That it is below the root, or
    /// could be opened, is not said.
    func mayHave(_ path: String) -> Bool {
        var status = stat()
        return withExtendedLifetime(directory) {
            fstatat($0.fd, Self.relative(path), &status, 0) == 0 || errno != ENOENT
        }
    }

    /// Whether `file` still stands at the path that it was opened by, unchanged, and nothing at `others`. Where it was moved out
    /// of the root, or another one was put in its place, the answer is no.
    func has(_ file: SiteFile, at path: String, without others: [String]) -> Bool {
        var status = stat()
        return withExtendedLifetime(directory) { directory in
            fstatat(directory.fd, Self.relative(path), &status, 0) == 0 && file.isDescribed(by: status)
                && others.allSatisfy { fstatat(directory.fd, Self.relative($0), &status, 0) != 0 && errno == ENOENT }
        }
    }

    private static func relative(_ path: String) -> String { "." + (path.hasPrefix("/") ? path : "/" + path) }
}

/// An open file: what is told of it and what is read are of one and the same, whatever replaces it meanwhile.
final class SiteFile: Sendable {
    let descriptor: OwnedDescriptor
    let isDirectory: Bool
    /// What changes with every change of the file, as far as its clock can tell: see ``EntityTag``.
    let tag: EntityTag
    /// Bytes, when it was opened.
    let size: Int
    /// Seconds since 1970, when it was opened.
    let modified: Double
    /// The same without fractions, rounded down.
    let modifiedSecond: time_t

    private let openFiles: OpenFiles
    private let state: FileState

    /// Nil when it is neither a regular file nor a directory. It has been counted among the open files.
    init?(_ descriptor: OwnedDescriptor, _ openFiles: OpenFiles) {
        var status = stat()
        guard fstat(descriptor.fd, &status) == 0 else {
            openFiles.giveBack()
            return nil
        }
        switch status.st_mode & S_IFMT {
        case S_IFREG: isDirectory = false
        case S_IFDIR: isDirectory = true
        default:
            openFiles.giveBack()
            return nil
        }
        self.descriptor = descriptor
        self.openFiles = openFiles
        state = FileState(status)
        tag = EntityTag(status, now: time(nil))
        size = Int(status.st_size)
        modifiedSecond = status.st_mtim.tv_sec
        modified = Double(status.st_mtim.tv_sec) + Double(status.st_mtim.tv_nsec) / 1e9
    }

    deinit { openFiles.giveBack() }

    /// Whether that is what was told of the file when it was opened.
    func isDescribed(by status: stat) -> Bool { state == FileState(status) }

    /// Counts a second descriptor of the file, which the channel makes to send it. Returns false when there are too many.
    func countCopy() -> Bool { openFiles.take() }

    func uncountCopy() { openFiles.giveBack() }
}

/// Which file it is, and when it was changed last: by contents, name, mode, or owner (st_ctime, inode(7)).
private struct FileState: Equatable {
    private let device: UInt64
    private let inode: UInt64
    private let size: Int64
    private let seconds: Int64
    private let nanoseconds: Int64

    init(_ status: stat) {
        device = UInt64(status.st_dev)
        inode = UInt64(status.st_ino)
        size = Int64(status.st_size)
        seconds = Int64(status.st_ctim.tv_sec)
        nanoseconds = Int64(status.st_ctim.tv_nsec)
    }
}
