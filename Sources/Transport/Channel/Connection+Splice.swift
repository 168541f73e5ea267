import CSocket
import Glibc

// How a connection passes what it receives on to another without copying it (splice(2)): worth it for streams, since each
// pass costs a poll and two system calls, whatever its size.
extension Connection {
    /// Sends what is received from now on to `other`, in order with what is written there, without telling it by
    /// ``received(_:)``: ``spliced(_:)`` tells how much. Bytes that have been received already are told first, in the usual
    /// way. Up to 1 MiB at a time leaves the socket, into a pipe of the kernel's; more is received when `other` has
    /// taken all of it: whoever writes to `other` besides looks at ``isWritable`` as ever.
    ///
    /// Goes on until ``endSplicing()``, or until it cannot: when `other` takes nothing more, no pipe can be had
    /// (``EventLoopConfiguration/splicePipesMax``, or no descriptors, or the user's limit, pipe(7)), the input ends, or urgent data
    /// come (tcp(7)). ``received(_:)`` is called again then. The end of the input is told as ever, when all before it is queued at
    /// `other`; its ``flushed()`` tells when it is sent.
    ///
    /// Call it while reading is paused: a receive in flight is not for the pipe.
    ///
    /// - Parameter other: of the same loop.
    /// - Returns: false when there is no pipe to be had now, or splice(2) is denied to the process. Everything stays as it is then.
    @discardableResult
    public func splice(to other: Connection) -> Bool {
        precondition(other.loop === loop && other !== self, "bytes are spliced to another connection of the loop")
        precondition(!state.pointee.read.isWanted, "reading is paused before it changes")
        precondition(!configuration.receivesDescriptors, "a pipe carries no descriptors")
        precondition(registration != nil, "only what is started receives")
        guard !isClosing, !isSplicing else { return isSplicing }
        // With O_NONBLOCK: nothing but polls waits at it from now on, and no send ever does.
        guard loop.state.pointee.splicePipes.areAvailable(loop.turnTime), csocket_set_nonblocking(fd, 1) == 0 else {
            loop.countSpliceRefused()
            return false
        }
        state.pointee.splice = Splice(target: other)
        return true
    }

    /// Tells what is received by ``received(_:)`` again, from the next receive on. What is in the pipe is sent.
    public func endSplicing() {
        guard let splice = state.pointee.splice else { return }
        splice.pipe?.source = nil
        state.pointee.splice = nil
        // A ring would tell EAGAIN in place of waiting.
        _ = csocket_set_nonblocking(fd, 0)
        // It may have waited for the pipe.
        if !isClosing { perform(state.pointee.read.buffersReturned()) }
    }

    /// Whether ``splice(to:)`` is in force.
    public var isSplicing: Bool { state.pointee.splice != nil }

    /// Whether it waits until the pipe is empty.
    var awaitsSplicePipe: Bool { state.pointee.splice?.pipe != nil }

    /// Bytes received that were spliced, so far.
    public var bytesSpliced: UInt64 { state.pointee.bytesSpliced }

    /// There is something to be received, as a poll has told. Returns what a receive would have ended with.
    func spliceInput(_ splice: Splice) -> Int32 {
        guard state.pointee.read.isWanted else { return -EAGAIN }
        guard splice.pipe == nil else { return -ENOBUFS }
        guard splice.target.takesSpliced else { return receiveInstead() }
        guard let pipe = loop.state.pointee.splicePipes.take(loop.turnTime) else {
            loop.countSpliceRefused()
            return receiveInstead()
        }
        let result = pipe.fill(from: fd)
        guard result > 0 else {
            loop.state.pointee.splicePipes.give(pipe)
            return spliceFoundNothing(result)
        }
        state.pointee.splice?.emptyWakes = 0
        pipe.source = self
        state.pointee.splice?.pipe = pipe
        state.pointee.bytesReceived &+= UInt64(result)
        state.pointee.bytesSpliced &+= UInt64(result)
        loop.state.pointee.statistics.splicedBytes &+= UInt64(result)
        splice.target.append(pipe)
        spliced(Int(result))
        // Until the pipe is empty, which it is at the end of the turn if the other's socket has room.
        return isSplicing ? -ENOBUFS : -EAGAIN
    }

    /// Before urgent data splice(2) says that there is nothing, as often as it is asked: a receive steps over them. But somebody
    /// else who has the socket may have taken what the poll told of, too: then the next poll waits.
    private func spliceFoundNothing(_ result: Int32) -> Int32 {
        guard result == 0 || result == -EAGAIN, let wakes = state.pointee.splice?.emptyWakes else { return result }
        guard result == -EAGAIN, wakes < Splice.emptyWakesMax else { return receiveInstead() }
        state.pointee.splice?.emptyWakes = wakes + 1
        return result
    }

    private func receiveInstead() -> Int32 {
        endSplicing()
        return -EAGAIN
    }

    private var takesSpliced: Bool {
        !isClosing && state.pointee.output == .open
            && state.pointee.queue.segmentCount < configuration.queuedSegmentsMax
    }

    private func append(_ pipe: SplicePipe) {
        state.pointee.queue.append(.spliced(pipe, count: pipe.count))
        markDirty()
    }

    /// What waited for it goes on.
    func splicePipeEmptied() {
        state.pointee.splice?.pipe = nil
        if !isClosing { perform(state.pointee.read.buffersReturned()) }
    }

    /// Returns how many bytes were sent; 0 when there was no room or the connection has ended.
    func sendSpliced(_ pipe: SplicePipe) -> Int {
        let result = pipe.drain(into: fd, isNonblocking: isSplicing, limit: pipe.count)
        guard result > 0 else {
            if result != -Int(EAGAIN) { fail(Int32(-result), "splice") }
            return 0
        }
        advance(result)
        return result
    }
}

/// Where a connection's input goes, and what it is in on its way.
struct Splice {
    let target: Connection
    /// Nil when nothing is.
    var pipe: SplicePipe?
    /// Polls in a row that told of bytes which splice(2) did not find.
    var emptyWakes = 0
    /// After so many it is no accident.
    static let emptyWakesMax = 2
}

extension EventLoop {
    /// The pipe is out of the write queue, and empty: whoever filled it goes on.
    func splicePipeReturned(_ pipe: SplicePipe) {
        let source = pipe.source
        pipe.source = nil
        state.pointee.splicePipes.give(pipe)
        source?.splicePipeEmptied()
    }

    /// The pipe is out of the write queue with bytes in it. Who filled it would wait for ever.
    func splicePipeDropped(_ pipe: SplicePipe) {
        state.pointee.splicePipes.drop(pipe)
        pipe.source?.endSplicing()
    }

    fileprivate func countSpliceRefused() {
        // What stays so is told once.
        if state.pointee.splicePipes.isDenied, state.pointee.statistics.splicesRefused > 0 { return }
        state.pointee.statistics.splicesRefused &+= 1
    }
}
