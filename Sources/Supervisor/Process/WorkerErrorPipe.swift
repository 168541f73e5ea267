import CSocket
import Glibc
import Transport

/// What a worker wrote to its standard error: passed on to ours at once, and the last of it kept, so that a death can be
/// told with its cause. A worker's log does not come this way; a crash message, a backtrace or a library's complaint does.
final class WorkerErrorPipe {
    /// How much is kept, in bytes.
    static let keptMax = 2_048
    private static let readsPerTurnMax = 8

    /// The end of the pipe that is read. Stays ours.
    let descriptor: Int32
    private let loop: EventLoop
    private let passesOn: Bool
    private var watch: ReadinessWatch?
    private var kept: [UInt8] = []

    /// Takes over the reading end of a pipe, non-blocking.
    ///
    /// - Parameter passesOn: whether what comes is written to our standard error, too.
    init(_ loop: EventLoop, owning descriptor: Int32, passesOn: Bool = true) {
        self.loop = loop
        self.passesOn = passesOn
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

    /// The last lines, without what does not print. Empty when nothing was said.
    var text: String {
        let text = String(decoding: kept, as: UTF8.self)
        let lines = text.split(whereSeparator: \.isNewline).map { line in
            String(line.unicodeScalars.map { $0.properties.generalCategory == .control ? " " : Character($0) })
        }
        return lines.joined(separator: "\n")
    }

    /// Takes what is left: the worker is dead.
    func finish() {
        while take() {}
        watch?.stop()
        watch = nil
    }

    private func takeInTurns() {
        guard watch != nil, take() else { return }
        loop.executeAtEndOfTurn { [weak self] in self?.takeInTurns() }
    }

    /// Reads and passes on a bounded amount; returns whether there may be more.
    private func take() -> Bool {
        for _ in 0..<Self.readsPerTurnMax {
            let count = withUnsafeTemporaryAllocation(byteCount: Self.keptMax, alignment: 1) { buffer -> Int in
                let count = read(descriptor, buffer.baseAddress, buffer.count)
                guard count > 0 else { return count }
                let bytes = UnsafeRawBufferPointer(rebasing: buffer[..<count])
                if passesOn { _ = write(STDERR_FILENO, bytes.baseAddress, count) }
                keep(bytes)
                return count
            }
            if count <= 0 { return false }
        }
        return true
    }

    private func keep(_ bytes: UnsafeRawBufferPointer) {
        kept.append(contentsOf: bytes)
        if kept.count > Self.keptMax { kept.removeFirst(kept.count - Self.keptMax) }
    }
}
