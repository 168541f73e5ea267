// What a turn does with completions, and with what they leave behind: writes, buffers, registrations that end.
extension EventLoop {
    @inline(__always)
    func dispatch(_ completion: Completion) {
        let id = completion.userData.registration
        guard let kind = completion.userData.kind else {
            preconditionFailure("a completion with user data that nobody submitted")
        }
        if id.slot == 0 { return handler.handle(completion) }
        switch state.pointee.registrations.completed(kind, id, isTerminal: !completion.hasMore) {
        case .deliver(let channel, let isEnding):
            channel._withUnsafeGuaranteedRef { channel in
                switch kind {
                case .receive: channel.receiveCompleted(completion)
                case .send: channel.sendCompleted(completion)
                default: channel.completed(kind, completion)
                }
            }
            if isEnding { state.pointee.ending.append(id) }
        case .stale:
            drop(completion)
        }
    }

    @inline(never)
    private func drop(_ completion: Completion) {
        state.pointee.statistics.staleCompletions &+= 1
        if completion.buffer != nil { releaseBytes(of: completion) }
    }

    /// Sends what is dirty, gives buffers back, resumes who waited for them, and frees what has ended.
    func finishTurn(completionsDrained: Bool) {
        // What is appended to a list while it is walked is walked too.
        var index = 0
        while index < state.pointee.dirty.count {
            state.pointee.registrations.channel(state.pointee.dirty[index])?._withUnsafeGuaranteedRef { $0.flush() }
            index += 1
        }
        state.pointee.dirty.removeAll()
        returnBuffers(completionsDrained: completionsDrained)
        index = 0
        while index < state.pointee.ending.count {
            let id = state.pointee.ending[index]
            if state.pointee.registrations.isEnding(id) { end(id) }
            index += 1
        }
        state.pointee.ending.removeAll()
    }

    /// Releases the registration's channel and frees its slot, if the kernel is done with either.
    private func end(_ id: RegistrationID) {
        if let channel = state.pointee.registrations.releaseIfDone(id) {
            handler.forget(id)
            channel._withUnsafeGuaranteedRef { $0.released() }
        }
        state.pointee.registrations.freeIfDone(id)?.release()
    }

    private func returnBuffers(completionsDrained: Bool) {
        takeBackBuffers()
        if !state.pointee.starved.isEmpty { hold(state.pointee.receiveBuffers.grow()) }
        let returned = state.pointee.returns.count
        giveHeldBuffers()
        // With every completion dispatched the kernel has all buffers again but for those lent; else it has those just
        // returned.
        let available = completionsDrained ? state.pointee.receiveBuffers.unlentCount : returned
        let resumable = min(available, state.pointee.starved.count)
        for index in 0..<resumable {
            let id = state.pointee.starved[index]
            state.pointee.registrations.channel(id)?._withUnsafeGuaranteedRef { $0.receiveBuffersReturned() }
        }
        state.pointee.starved.removeFirst(resumable)
    }

    /// Buffers whose bytes have been sent.
    private func takeBackBuffers() {
        guard chunks.hasReturned else { return }
        chunks.takeReturned { buffer in
            state.pointee.receiveBuffers.takeBack(buffer)
            state.pointee.returns.append(buffer)
        }
    }

    /// What the handler begins with.
    func giveFirstBuffers() {
        hold(0..<UInt16(state.pointee.receiveBuffers.count))
        giveHeldBuffers()
    }

    private func hold(_ ids: Range<UInt16>) {
        for id in ids { state.pointee.returns.append(id) }
    }

    /// Every buffer that the loop holds goes to the handler, all in one call: one publication to the kernel.
    private func giveHeldBuffers() {
        assert(state.pointee.returns.count == state.pointee.receiveBuffers.heldCount, "every held buffer is returned")
        guard !state.pointee.returns.isEmpty else { return }
        state.pointee.receiveBuffers.give(state.pointee.returns.elements)
        handler.giveBuffers(state.pointee.returns.elements, size: state.pointee.receiveBuffers.sizeGiven)
        state.pointee.returns.removeAll()
    }
}
