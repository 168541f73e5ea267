import CSocket
import Glibc
import Transport

/// What a worker wrote to its standard error: passed on to ours at once, and the first and the last of it kept, so that a
/// death can be told with its cause: a complaint comes first, and a long backtrace after it. A worker's log does not come
/// this way.
final class WorkerErrorPipe {
    /// How much of the beginning is kept, and how much of the end, in bytes.
    static let keptMax = 1_024
    private static let readMax = 2_048
    private static let readsPerTurnMax = 8
    /// The most that a pipe can hold (pipe(7)), in turns: a process that the worker has left behind may still write.
    private static let lastTurnsMax = (1 << 20) / (readMax * readsPerTurnMax)

    /// The end of the pipe that is read. Stays ours.
    let descriptor: Int32
    private let loop: EventLoop
    private let target: Int32?
    private var watch: ReadinessWatch?
    private var head: [UInt8] = []
    private var tail: [UInt8] = []
    private var omitted = 0
    /// Bytes that were not passed on since the last that were.
    private var withheld = 0

    /// Takes over the reading end of a pipe, non-blocking.
    ///
    /// - Parameter target: where what comes is written, too.
    init(_ loop: EventLoop, owning descriptor: Int32, passingOnTo target: Int32?) {
        self.loop = loop
        self.target = target
        self.descriptor = descriptor
        watch = ReadinessWatch(
            loop, fd: descriptor, ready: { [unowned self] in takeInTurns() }, ended: { close(descriptor) })
    }

    /// A pipe: what a worker is to write to, which the caller closes after the spawn, and what is read here.
    static func pipe() throws(SystemError) -> (reading: Int32, writing: Int32) {
        var ends: [Int32] = [-1, -1]
        guard Glibc.pipe(&ends) == 0 else { throw SystemError("pipe", code: errno) }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        // Only our end: the worker's own writes may wait for us.
        _ = fcntl(ends[0], F_SETFL, O_NONBLOCK)
        return (ends[0], ends[1])
    }

    /// The first and the last lines, without what does not print. Empty when nothing was said.
    var text: String {
        let omission = Array("\n[\(omitted) bytes left out]\n".utf8)
        let text = String(decoding: omitted > 0 ? head + omission + tail : head + tail, as: UTF8.self)
        let lines = text.split(whereSeparator: \.isNewline).map { line in
            String(line.unicodeScalars.map { $0.properties.generalCategory == .control ? " " : Character($0) })
        }
        return lines.joined(separator: "\n")
    }

    /// Takes what is left: the worker is dead.
    func finish() {
        guard let watch else { return }
        for _ in 0..<Self.lastTurnsMax where !take() { break }
        watch.stop()
        self.watch = nil
    }

    private func takeInTurns() {
        guard watch != nil, take() else { return }
        loop.executeAtEndOfTurn { [weak self] in self?.takeInTurns() }
    }

    /// Reads and passes on a bounded amount; returns whether there may be more.
    private func take() -> Bool {
        for _ in 0..<Self.readsPerTurnMax {
            let count = withUnsafeTemporaryAllocation(byteCount: Self.readMax, alignment: 1) { buffer -> Int in
                let count = read(descriptor, buffer.baseAddress, buffer.count)
                guard count > 0 else { return count }
                let bytes = UnsafeRawBufferPointer(rebasing: buffer[..<count])
                passOn(bytes)
                keep(bytes)
                return count
            }
            if count <= 0 { return false }
        }
        return true
    }

    /// A reader of our standard error that does not read must not stop the supervisor: then this is kept, but not passed on.
    private func passOn(_ bytes: UnsafeRawBufferPointer) {
        guard let target else { return }
        // To a pipe that poll(2) calls writable, PIPE_BUF bytes can be written without waiting (pipe(7)), and these are fewer.
        var place = pollfd(fd: target, events: Int16(POLLOUT), revents: 0)
        guard poll(&place, 1, 0) == 1, place.revents & Int16(POLLOUT) != 0 else {
            withheld += bytes.count
            return
        }
        if withheld > 0 {
            let note = Array("[\(withheld) bytes of a worker's words left out: standard error was not read]\n".utf8)
            withheld = 0
            _ = write(target, note, note.count)
        }
        _ = write(target, bytes.baseAddress, bytes.count)
    }

    private func keep(_ bytes: UnsafeRawBufferPointer) {
        let first = bytes.prefix(Self.keptMax - head.count)
        head += first
        tail += bytes.dropFirst(first.count)
        let excess = tail.count - Self.keptMax
        guard excess > 0 else { return }
        tail.removeFirst(excess)
        omitted += excess
    }
}
