import CSocket
import Glibc

/// A pipe that bytes lie in on their way from one socket to another, which they take without being copied (splice(2)).
///
/// It is filled when it is empty only: what splice(2) says of a full pipe and of an empty socket is the same. It counts
/// its loop's pipes, and is closed when neither the connection that fills it nor a write queue refers to it any more.
final class SplicePipe {
    /// Bytes a pipe is asked to hold. More needs privileges (/proc/sys/fs/pipe-max-size, pipe(7)).
    static let capacity = 1 << 20

    private unowned let loop: EventLoop
    private let readEnd: Int32
    private let writeEnd: Int32
    /// Bytes in it.
    private(set) var count = 0
    /// Who is to be told when it is empty again. Cleared when that connection fills it no more.
    var source: Connection?

    /// Nil when the loop has as many as it may, or the kernel grants none: EMFILE, ENFILE, ENOMEM, or EPERM, when the user has
    /// as many pages in pipes as an unprivileged one may.
    init?(_ loop: EventLoop, source: Connection) {
        guard loop.state.pointee.splicePipes < loop.splicePipesMax, !loop.state.pointee.isSpliceDenied else {
            return nil
        }
        var ends: (Int32, Int32) = (-1, -1)
        let result = withUnsafeMutableBytes(of: &ends) {
            csocket_pipe($0.assumingMemoryBound(to: Int32.self).baseAddress, Self.capacity)
        }
        guard result == 0 else { return nil }
        self.loop = loop
        (readEnd, writeEnd) = ends
        self.source = source
        loop.state.pointee.splicePipes += 1
    }

    deinit {
        loop.state.pointee.splicePipes -= 1
        close(readEnd)
        close(writeEnd)
    }

    /// Takes what the socket has received, as far as it fits. 0: the input has ended; or a negative errno. Where splice(2) is
    /// denied (a seccomp filter, a sandbox), the loop makes no other pipe.
    func fill(from socket: Int32) -> Int32 {
        precondition(count == 0, "a pipe is filled when it is empty")
        let result = csocket_splice_in(socket, writeEnd, Self.capacity)
        switch -result {
        case Int64(EPERM), Int64(EACCES), Int64(ENOSYS), Int64(EINVAL):
            loop.state.pointee.isSpliceDenied = true
        default:
            count = Int(max(0, result))
        }
        return Int32(result)
    }

    /// Gives the socket up to `limit` bytes of it, which are the caller's to count by ``sent(_:)``. Or a negative errno.
    func drain(into socket: Int32, limit: Int) -> Int {
        Int(csocket_splice_out(readEnd, socket, min(count, limit)))
    }

    /// That many bytes have left it.
    func sent(_ number: Int) {
        precondition(number <= count, "more leaves a pipe than there is")
        count -= number
        if count == 0 { source?.splicePipeEmptied() }
    }

    /// Takes all that is in it into memory, at the end of `bytes`; the caller counts it by ``sent(_:)``.
    func read(into bytes: inout [UInt8]) {
        let start = bytes.count
        bytes.append(contentsOf: repeatElement(0, count: count))
        var left = count
        while left > 0 {
            let taken = bytes.withUnsafeMutableBytes {
                Glibc.read(readEnd, $0.baseAddress! + start + count - left, left)
            }
            precondition(taken > 0, "a pipe has what was put into it")
            left -= taken
        }
    }
}
