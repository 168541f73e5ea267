import CSocket
import Glibc

/// A pipe that bytes lie in on their way from one socket to another, which they take without being copied (splice(2)).
///
/// It is filled when it is empty only: what splice(2) says of a full pipe and of an empty socket is the same.
final class SplicePipe {
    /// Bytes a pipe is asked to hold. More needs privileges (/proc/sys/fs/pipe-max-size, pipe(7)).
    static let capacity = 1 << 20
    /// One that the kernel grants less than this is of no use.
    private static let capacityMin = 1 << 16

    private let readEnd: Int32
    private let writeEnd: Int32
    /// Bytes in it.
    private(set) var count = 0
    /// Who filled it and waits until it is empty. Nobody, when that connection splices no more.
    var source: Connection?

    /// Nil when the kernel grants none: EMFILE, ENFILE, ENOMEM, or a user who has as much in pipes as an unprivileged one may.
    fileprivate init?() {
        var ends: (Int32, Int32) = (-1, -1)
        let result = withUnsafeMutableBytes(of: &ends) {
            csocket_pipe($0.assumingMemoryBound(to: Int32.self).baseAddress, Self.capacity, Self.capacityMin)
        }
        guard result == 0 else { return nil }
        (readEnd, writeEnd) = ends
    }

    deinit {
        close(readEnd)
        close(writeEnd)
    }

    /// Takes what the socket, which has O_NONBLOCK, has received, as far as it fits. Otherwise 0 at the end of the input, or a
    /// negative errno: EAGAIN when nothing is there, and wherever urgent data come next (tcp(7)).
    func fill(from socket: Int32) -> Int32 {
        precondition(count == 0, "a pipe is filled when it is empty")
        let result = Int32(csocket_splice_in(socket, writeEnd, Self.capacity))
        count = Int(max(0, result))
        return result
    }

    /// Gives the socket up to `limit` bytes of it, which are the caller's to count by ``sent(_:)``. Or a negative errno.
    func drain(into socket: Int32, isNonblocking: Bool, limit: Int) -> Int {
        Int(csocket_splice_out(readEnd, socket, isNonblocking ? 1 : 0, min(count, limit)))
    }

    /// That many bytes have left it.
    func sent(_ number: Int) {
        precondition(number <= count, "more leaves a pipe than there is")
        count -= number
    }

    /// Takes all that is in it into memory, at the end of `bytes`.
    func read(into bytes: inout [UInt8]) {
        let start = bytes.count
        bytes.append(contentsOf: repeatElement(0, count: count))
        while count > 0 {
            let taken = bytes.withUnsafeMutableBytes {
                Glibc.read(readEnd, $0.baseAddress! + start + ($0.count - start - count), count)
            }
            precondition(taken > 0, "a pipe has what was put into it")
            count -= taken
        }
    }
}

/// A loop's pipes. A connection has one only while there are bytes in it: so a few do for many streams.
struct SplicePipes {
    /// Empty ones that are kept open: few, since they take from what the user may have.
    private static let idleMax = 4
    /// How long none is asked for when the kernel has refused one.
    private static let rest: Duration = .seconds(1)

    private let max: Int
    private var idle: [SplicePipe] = []
    /// Open ones, the idle ones among them.
    private var openCount = 0
    private var restEnd = MonotonicTime(nanoseconds: 0)
    /// Whether this process may splice at all, once somebody has asked.
    private var isAllowed: Bool?

    init(max: Int) { self.max = max }

    /// Those with bytes in them.
    var usedCount: Int { openCount - idle.count }

    /// splice(2) is denied to the process, by a seccomp filter or a sandbox: it stays so.
    var isDenied: Bool { isAllowed == false }

    /// Whether there is one to be had, as far as is known.
    mutating func areAvailable(_ now: MonotonicTime) -> Bool {
        if isAllowed == nil { isAllowed = csocket_may_splice() == 0 }
        guard isAllowed == true else { return false }
        return !idle.isEmpty || (openCount < max && now >= restEnd)
    }

    /// An empty one; nil when there is none.
    mutating func take(_ now: MonotonicTime) -> SplicePipe? {
        guard areAvailable(now) else { return nil }
        if let pipe = idle.popLast() { return pipe }
        guard let pipe = SplicePipe() else {
            restEnd = now + Self.rest
            return nil
        }
        openCount += 1
        return pipe
    }

    /// It is empty again.
    mutating func give(_ pipe: SplicePipe) {
        precondition(pipe.count == 0 && pipe.source == nil, "a pipe comes back empty")
        if idle.count < Self.idleMax { idle.append(pipe) } else { openCount -= 1 }
    }

    /// It is dropped, with what is in it.
    mutating func drop(_ pipe: SplicePipe) { openCount -= 1 }
}
