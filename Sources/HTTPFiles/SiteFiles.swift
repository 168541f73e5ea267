import CSocket
import FoundationEssentials
import Glibc
import Hummingbird
import NIOCore
import NIOPosix
import Synchronization
import Transport

/// The root's files, for Hummingbird's `FileMiddleware` and one request.
final class SiteFiles: FileProvider {
    /// What the middleware asks of a file.
    struct FileAttributes: FileMiddlewareFileAttributes, Sendable {
        let isFolder: Bool
        let size: Int
        let modificationDate: Date
    }

    private let root: SiteRoot
    private let found = Mutex<SiteFile?>(nil)

    init(root: SiteRoot) { self.root = root }

    /// The file that the middleware has asked about last, if it was one.
    var lastFile: SiteFile? { found.withLock { $0 } }

    /// Bytes read in one piece at most; a file of no more is answered with its head, in one write.
    static let pieceMax = 128 * 1024

    /// What keeps a file from being opened can be told later only: here it would be as if it were not there.
    func getFileIdentifier(_ path: String) -> Result<SiteFile, SystemError>? {
        do throws(SystemError) {
            return try root.file(path).map { .success($0) }
        } catch {
            return .failure(error)
        }
    }

    func getAttributes(id: Result<SiteFile, SystemError>) async throws -> FileAttributes? {
        let file = try id.get()
        found.withLock { $0 = file.isDirectory ? nil : file }
        return FileAttributes(
            isFolder: file.isDirectory, size: file.size,
            modificationDate: Date(timeIntervalSince1970: file.modified))
    }

    func loadFile(
        id: Result<SiteFile, SystemError>, context: some RequestContext
    ) async throws -> ResponseBody {
        let file = try id.get()
        return file.size == 0 ? ResponseBody() : try await body(file, 0..<file.size)
    }

    func loadFile(
        id: Result<SiteFile, SystemError>, range: ClosedRange<Int>, context: some RequestContext
    ) async throws -> ResponseBody {
        let file = try id.get()
        // The upper bound may be the largest number.
        let upper = min(range.upperBound, file.size - 1)
        return range.lowerBound > upper ? ResponseBody() : try await body(file, range.lowerBound..<upper + 1)
    }

    private func body(_ file: SiteFile, _ range: Range<Int>) async throws -> ResponseBody {
        if range.count <= Self.pieceMax { return ResponseBody(byteBuffer: try await Self.read(file, range)) }
        return ResponseBody(contentLength: range.count) { writer in
            var next = range.lowerBound
            while next < range.upperBound {
                let piece = next..<min(next + Self.pieceMax, range.upperBound)
                try await writer.write(try await Self.read(file, piece))
                next = piece.upperBound
            }
            try await writer.finish(nil)
        }
    }

    /// Reads what is in the page cache at once, and the rest on another thread: a disk must not hold up the loop.
    private static func read(_ file: SiteFile, _ range: Range<Int>) async throws -> ByteBuffer {
        var buffer = ByteBufferAllocator().buffer(capacity: range.count)
        try read(file, range, into: &buffer, isWaiting: false)
        if buffer.readableBytes == range.count { return buffer }
        let begun = buffer
        return try await NIOThreadPool.singleton.runIfActive {
            var buffer = begun
            try read(file, range, into: &buffer, isWaiting: true)
            return buffer
        }
    }

    /// Goes on where the buffer ends. Without waiting it stops at what the page cache has not (RWF_NOWAIT, preadv2(2)).
    ///
    /// - Throws: `IOError`; EIO when the file has become shorter: its length has been promised already.
    static func read(
        _ file: SiteFile, _ range: Range<Int>, into buffer: inout ByteBuffer, isWaiting: Bool
    ) throws {
        while buffer.readableBytes < range.count {
            let left = range.count - buffer.readableBytes
            let offset = range.lowerBound + buffer.readableBytes
            var result = 0
            buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: left) { memory in
                var vector = iovec(iov_base: memory.baseAddress, iov_len: left)
                result = Int(csocket_read_at(file.descriptor.fd, &vector, Int64(offset), isWaiting ? 1 : 0))
                return max(0, result)
            }
            switch Int32(clamping: -result) {
            case ..<0: continue
            case EAGAIN where !isWaiting, EOPNOTSUPP where !isWaiting: return
            case 0: throw IOError(errnoCode: EIO, reason: "the file has become shorter while it was read")
            case EINTR: continue
            default: throw IOError(errnoCode: CInt(clamping: -result), reason: "preadv2")
            }
        }
    }
}
