import Glibc

/// A range of bytes of an open regular file, to be sent without passing through this process's memory.
public struct FileRegion: Sendable {
    /// The file, kept open until the region has been sent or dropped.
    public let file: OwnedDescriptor
    /// Where in the file it begins. The file's own position is neither used nor moved.
    public let offset: Int64
    /// Bytes.
    public let count: Int

    /// `count` bytes from `offset` on, both 0 or more. Whether the file is that long shows when it is sent.
    ///
    /// - Throws: EINVAL when `file` is not a regular file, EBADF when it is not open (fstat(2)).
    public init(_ file: OwnedDescriptor, offset: Int64 = 0, count: Int) throws(SystemError) {
        precondition(offset >= 0 && count >= 0 && count <= Int64.max - offset, "a region lies within a file")
        var status = stat()
        if fstat(file.fd, &status) < 0 { throw .last("fstat") }
        if status.st_mode & S_IFMT != S_IFREG { throw SystemError("fstat", code: EINVAL) }
        self.file = file
        self.offset = offset
        self.count = count
    }
}
