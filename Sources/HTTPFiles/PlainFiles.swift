import CSocket
import Glibc
import Hummingbird
import NIOCore
import NIOHTTP1
import RingmasterHummingbird
import Transport

/// Answers at once what most requests are: GET or HEAD of a file that lies in the page cache, as a whole, under no condition.
///
/// Everything else, and what goes wrong, is left to the router, whose answers to such requests are the same.
struct PlainFiles {
    let root: SiteRoot
    /// Nil: none is kept.
    let log: RequestLog?
    let knownFiles: KnownFiles

    init(root: SiteRoot, log: RequestLog?) {
        self.root = root
        self.log = log
        knownFiles = KnownFiles(root.openFiles)
    }

    /// Bytes of a file that are copied; more are sent from the page cache.
    static let copiedMax = 16 * 1024
    /// Bytes of a file that are sent so. Of larger ones not everything is likely to be in the page cache.
    static let sentMax = 64 * 1024 * 1024
    /// How far apart the page cache is asked for bytes of a file: half of what the kernel reads ahead by default.
    static let probeStride = 64 * 1024

    func answer(_ request: HTTPRequestHead, _ channel: any NIOCore.Channel) -> ImmediateAnswer? {
        guard request.method == .GET || request.method == .HEAD, !request.headers.askForMore,
            let path = Self.path(request.uri)
        else { return nil }
        let start = MonotonicTime.now
        guard let known = try? find(path, start, channel.eventLoop) else { return nil }
        let file = known.file
        var answer = ImmediateAnswer(head: known.head)
        if request.method == .GET, file.size > 0 {
            guard let body = Self.body(known, channel.allocator) else { return nil }
            (answer.body, answer.whenSent) = (body.data, body.whenSent)
        }
        if let log {
            log.write(
                client: channel.remoteAddress, method: request.method.rawValue, path: request.uri,
                status: Int(answer.head.status.code), bytes: file.size, since: start)
        }
        return answer
    }

    /// The path of a file, with that of a directory's index; nil for what has to be taken apart first.
    static func path(_ uri: String) -> String? {
        var uri = uri
        return uri.withUTF8 { path(UnsafeBufferPointer(rebasing: $0.prefix { $0 != UInt8(ascii: "?") })) }
    }

    private static func path(_ bytes: UnsafeBufferPointer<UInt8>) -> String? {
        guard bytes.first == UInt8(ascii: "/") else { return nil }
        var before = UInt8(ascii: "/")
        for byte in bytes {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "/"):
                break
            case UInt8(ascii: ".") where before != UInt8(ascii: "."): break
            default: return nil
            }
            before = byte
        }
        let text = String(decoding: bytes, as: UTF8.self)
        return before == UInt8(ascii: "/") ? text + "index.html" : text
    }

    /// Nil when it is none, or has variants.
    private func find(
        _ path: String, _ now: MonotonicTime, _ loop: any NIOCore.EventLoop
    ) throws(SystemError) -> KnownFiles.Known? {
        if let known = knownFiles.find(path, now) {
            if root.has(known.file, at: path, without: known.variants) { return known }
            knownFiles.forget(path)
        }
        guard let file = try root.file(path), !file.isDirectory else { return nil }
        let variants = Precompressed<SiteContext>.encodings.map { path + $0.suffix }
        if variants.contains(where: root.mayHave) { return nil }
        let known = KnownFiles.Known(file, Self.head(file, path), variants: variants, now)
        if !file.tag.isWeak { knownFiles.keep(known, path, loop) }
        return known
    }

    private static func head(_ file: SiteFile, _ path: String) -> HTTPResponseHead {
        var headers = HTTPHeaders()
        // Date is added, and perhaps Connection.
        headers.reserveCapacity(7)
        headers.add(name: "Content-Length", value: String(file.size))
        headers.add(name: "Last-Modified", value: HTTPDate.text(file.modifiedSecond))
        headers.add(name: "ETag", value: file.tag.description)
        headers.add(name: "Accept-Ranges", value: "bytes")
        if let dot = path.utf8.lastIndex(of: UInt8(ascii: ".")),
            let type = MediaTypes.of(.init(path[path.utf8.index(after: dot)...]))
        {
            headers.add(name: "Content-Type", value: type.description)
        }
        return HTTPResponseHead(version: .http1_1, status: .ok, headers: headers)
    }

    // MARK: Bodies

    /// Nil when it would have to be waited for.
    private static func body(
        _ known: KnownFiles.Known, _ allocator: ByteBufferAllocator
    ) -> (data: IOData, whenSent: (() -> Void)?)? {
        let file = known.file
        if file.size <= copiedMax {
            var buffer = allocator.buffer(capacity: file.size)
            guard (try? SiteFiles.read(file, 0..<file.size, into: &buffer, isWaiting: false)) != nil,
                buffer.readableBytes == file.size
            else { return nil }
            return (.byteBuffer(buffer), nil)
        }
        guard file.size <= sentMax, isCached(known), file.countCopy() else { return nil }
        let handle = NIOFileHandle(_deprecatedTakingOwnershipOfDescriptor: file.descriptor.fd)
        let region = NIOCore.FileRegion(fileHandle: handle, readerIndex: 0, endIndex: file.size)
        return (
            .fileRegion(region),
            {
                // The descriptor is the file's, which closes it.
                _ = try? handle.takeDescriptorOwnership()
                file.uncountCopy()
            }
        )
    }

    /// What was in the page cache less than a second ago is taken to be there still.
    private static func isCached(_ known: KnownFiles.Known) -> Bool {
        if known.isCached.load(ordering: .relaxed) { return true }
        guard isCached(known.file) else { return false }
        known.isCached.store(true, ordering: .relaxed)
        return true
    }

    /// Whether a file can be sent without waiting for a disk, by samples of it (RWF_NOWAIT, preadv2(2)): sendfile(2) has no
    /// way to say that it must not wait.
    private static func isCached(_ file: SiteFile) -> Bool {
        var byte: UInt8 = 0
        return withUnsafeMutablePointer(to: &byte) { byte in
            var vector = iovec(iov_base: byte, iov_len: 1)
            return stride(from: 0, to: file.size + probeStride - 1, by: probeStride).allSatisfy {
                csocket_read_at(file.descriptor.fd, &vector, Int64(min($0, file.size - 1)), 0) == 1
            }
        }
    }
}

extension HTTPHeaders {
    /// Whether they ask for a part of a file, or for the file under a condition.
    fileprivate var askForMore: Bool {
        contains { name, _ in
            let name = name.utf8
            guard let first = name.first.map({ $0 | 0x20 }) else { return false }
            return first == UInt8(ascii: "r") && name.count == "range".utf8.count
                || first == UInt8(ascii: "i") && name.dropFirst(2).first == UInt8(ascii: "-")
        }
    }
}
