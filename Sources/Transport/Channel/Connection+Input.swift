import CSocket
import Glibc

// What a connection receives: bytes, parked bytes, and the peer's end.
extension Connection {
    @inline(__always)
    func receiveEnded(_ completion: Completion) {
        guard !isClosing else { return receivedWhileClosing(completion) }
        if completion.buffer != nil {
            let bytes = loop.receivedBytes(of: completion)
            if bytes.count >= Chunk.lentMin {
                deliverLending(bytes, completion)
            } else {
                if !bytes.isEmpty { deliver(bytes) }
                loop.releaseBytes(of: completion)
            }
        }
        if !completion.hasMore {
            receiveStopped(completion.result)
        } else if state.pointee.resetMayHide {
            lookForReset(behind: completion)
        }
    }

    /// A service that only reads would not hear of it otherwise, ever. Costs a system call for each receive that is armed, not
    /// for each that completes.
    @inline(never)
    private func lookForReset(behind completion: Completion) {
        guard !completion.socketHasMore else { return }
        state.pointee.resetMayHide = false
        // A send that follows meets it as well.
        guard state.pointee.sending != .idle || state.pointee.queue.isEmpty else { return }
        guard !isClosing, state.pointee.read.isWanted, csocket_poll_now(fd, 0) > 0 else { return }
        // Another receive finds no bytes any more, and so the end. What came meanwhile is before it.
        perform(state.pointee.read.pause())
        perform(state.pointee.read.resume())
    }

    @inline(never)
    private func receiveStopped(_ result: Int32) {
        if !isClosing { perform(state.pointee.read.ended(result)) }
    }

    /// What the service writes of these bytes is sent from where it lies, if the loop can spare the buffer so long.
    @inline(never)
    private func deliverLending(_ bytes: UnsafeRawBufferPointer, _ completion: Completion) {
        loop.beginLending(bytes, of: completion)
        deliver(bytes)
        if !loop.endLending() { loop.releaseBytes(of: completion) }
    }

    @inline(__always)
    private func deliver(_ bytes: UnsafeRawBufferPointer) {
        state.pointee.bytesReceived &+= UInt64(bytes.count)
        if state.pointee.read.isWanted, state.pointee.parked.isEmpty {
            received(bytes.bytes)
        } else {
            guard state.pointee.inputEnd != .told else { return }
            state.pointee.parked.append(bytes, from: loop.chunks)
            state.pointee.read.parked()
        }
    }

    /// What reading submits and cancels.
    private var receiveKind: OperationKind {
        configuration.receivesDescriptors || isInFlight(.pollRead) ? .pollRead : .receive
    }

    private func submitReceive() {
        if configuration.receivesDescriptors || isSplicing { return awaitInput() }
        state.pointee.resetMayHide = receivesMultishot && loop.handler.canHideReset
        submit(.receive(fd: fd, multishot: receivesMultishot), .receive)
    }

    /// For who takes the bytes out of the socket itself.
    private func awaitInput() {
        submit(.poll(fd: fd, events: UInt32(POLLIN), multishot: false), .pollRead)
    }

    /// The poll that stands for a receive has completed. Reads nothing while reading is paused: it stays in the socket.
    func inputReady(_ result: Int32) {
        guard !isClosing else { return }
        let outcome: Int32
        if result <= 0 {
            outcome = result
        } else if configuration.receivesDescriptors {
            outcome = receiveMessages()
        } else if let splice = state.pointee.splice {
            outcome = spliceInput(splice)
        } else {
            // Splicing has ended meanwhile: the next receive takes it.
            outcome = -EAGAIN
        }
        if !isClosing { perform(state.pointee.read.ended(outcome)) }
    }

    func perform(_ action: ReadState.Action) {
        switch action {
        case .none:
            break
        case .arm:
            state.pointee.cancelIsCurrent = false
            submitReceive()
        case .cancel:
            cancelReceive()
        case .waitForBuffers:
            // What waits for a pipe may do so for long: then nobody else tells of the peer's end.
            if awaitsSplicePipe { return watchPeer() }
            if let registration { loop.waitForReceiveBuffers(registration) }
        case .end:
            guard state.pointee.inputEnd != .told else { return watchPeer() }
            state.pointee.inputEnd = .pending
            if !state.pointee.read.isWanted {
                watchPeer()
                tellInputEnding()
            } else if state.pointee.parked.isEmpty {
                tellInputEnd()
            }
        case .watch:
            watchPeer()
        case .fail(let code):
            fail(code, "recv")
        }
    }

    /// Tells that FIN has come, if it has and nobody reads up to it.
    func tellInputEnding() {
        guard !isClosing, !state.pointee.read.isWanted, !state.pointee.endingTold else { return }
        guard state.pointee.inputEnd == .unread || state.pointee.inputEnd == .pending else { return }
        state.pointee.endingTold = true
        inputEnding()
    }

    private func tellInputEnd() {
        state.pointee.inputEnd = .told
        inputEnded()
        closeIfFinished()
        // Nothing else would tell of a peer that resets the half that is left.
        if state.pointee.output == .open { watchPeer() }
    }

    /// A connection starts whose input has ended in its former life.
    func startEnded() {
        closeIfFinished()
        watchPeer()
    }

    private func cancelReceive() {
        let kind = receiveKind
        guard isInFlight(kind), let cancellation = kind.cancellation, !isInFlight(cancellation) else { return }
        state.pointee.cancelIsCurrent = true
        cancel(kind)
    }

    func cancelReceiveCompleted(_ result: Int32) {
        if isClosing { return cancellationCompleted() }
        // 0 with the cancellation aimed at this receive: its terminal completion is on its way.
        if result == 0, state.pointee.cancelIsCurrent { return }
        if isInFlight(receiveKind) { perform(state.pointee.read.cancellationMissed()) }
    }

    /// Bytes that arrived while paused, before any newer ones; stops when the service pauses again.
    func deliverParked() {
        guard state.pointee.read.hasParked || state.pointee.inputEnd == .pending else { return }
        while !isClosing, state.pointee.read.isWanted, !state.pointee.parked.isEmpty {
            let bytes = state.pointee.parked.front
            // Taken out before the call, since the service may pause, close or write in it.
            let chunk = state.pointee.parked.removeFront()
            if configuration.receivesDescriptors {
                received(bytes.bytes, descriptors: ReceivedDescriptors())
            } else {
                received(bytes.bytes)
            }
            loop.chunks.give(chunk)
        }
        guard !isClosing else { return }
        if state.pointee.parked.isEmpty { perform(state.pointee.read.unparked()) }
        if state.pointee.read.isWanted, state.pointee.inputEnd == .pending { tellInputEnd() }
    }

    // MARK: While reading is paused

    /// Without a receive in flight, while reading is paused or the input has ended, a poll tells of FIN and RST. It
    /// stays until the connection closes. Multishot, since io_uring reports POLLRDHUP like POLLERR, asked for or
    /// not: after FIN a new poll would complete at once instead of waiting for RST.
    func watchPeer() {
        guard !isClosing, !isInFlight(.poll) else { return }
        submit(.poll(fd: fd, events: UInt32(CSOCKET_POLLRDHUP), multishot: true), .poll)
    }

    func pollCompleted(_ completion: Completion) {
        guard !isClosing else { return }
        let events = completion.result
        guard events > 0 else {
            // Without it nobody would tell of the peer's end. Cancelled it is only on the way to another loop.
            if events < 0, events != -ECANCELED { fail(-events, "poll") }
            return
        }
        if events & Int32(POLLERR) != 0, let error = Socket.pendingError(of: fd) { return fail(error, "poll") }
        // Ended early, as by a full completion queue. With both directions shut there is nothing left to watch for.
        if !completion.hasMore, events & Int32(POLLHUP) == 0 { watchPeer() }
        if events & Int32(CSOCKET_POLLRDHUP) != 0, state.pointee.inputEnd == .notSeen {
            state.pointee.inputEnd = .unread
        }
        tellInputEnding()
    }
}
