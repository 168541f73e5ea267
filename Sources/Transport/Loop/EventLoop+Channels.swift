// What the loop does for its channels.
extension EventLoop {
    func submitAll() throws(SystemError) {
        guard !state.pointee.submissions.isEmpty else { return }
        let taken = try handler.submit(state.pointee.submissions.elements)
        state.pointee.submissions.removeFirst(taken)
    }

    func register(_ channel: Channel) -> RegistrationID {
        preconditionOnLoop()
        precondition(!hasEnded, "a loop that has ended takes no channels")
        return state.pointee.registrations.register(channel)
    }

    /// Ends a registration: its channel is told by `released()` when nothing is in flight any more, at the end of this turn or later.
    func deregister(_ id: RegistrationID) {
        preconditionOnLoop()
        state.pointee.registrations.cancel(id)
        state.pointee.ending.append(id)
    }

    @inline(__always)
    func submit(_ operation: Operation, _ kind: OperationKind, _ id: RegistrationID) {
        preconditionOnLoop()
        state.pointee.registrations.began(kind, id)
        state.pointee.submissions.append(Submission(userData: UserData(kind, id), operation: operation))
        if state.pointee.submissions.count >= EventLoopState.submissionsMax {
            do throws(SystemError) {
                try submitAll()
            } catch {
                // Told at the end of the turn, where the loop ends in order.
                state.pointee.handlerError = error
                state.pointee.submissions.removeAll()
            }
        }
    }

    func isInFlight(_ kind: OperationKind, _ id: RegistrationID) -> Bool {
        state.pointee.registrations.isInFlight(kind, id)
    }

    /// The kinds of operations in flight, one bit each.
    func inFlight(_ id: RegistrationID) -> UInt32 {
        state.pointee.registrations.inFlight(id)
    }

    /// Only the notification of the operation is still to come.
    func awaitNotification(_ kind: OperationKind, _ id: RegistrationID) {
        state.pointee.registrations.awaitNotification(kind, id)
        // It may be what the registration's release waited for.
        state.pointee.ending.append(id)
    }

    func awaitsNotification(_ kind: OperationKind, _ id: RegistrationID) -> Bool {
        state.pointee.registrations.awaitsNotification(kind, id)
    }

    @inline(__always)
    func markDirty(_ id: RegistrationID) {
        state.pointee.dirty.append(id)
    }

    /// Once per channel and turn.
    func goOnInNextTurn(_ id: RegistrationID) {
        state.pointee.goingOn.append(id)
    }

    /// Those that ask for it now wait for another turn.
    func goOnWithChannels() {
        let count = state.pointee.goingOn.count
        for index in 0..<count {
            let id = state.pointee.goingOn[index]
            state.pointee.registrations.channel(id)?._withUnsafeGuaranteedRef { $0.goOn() }
        }
        state.pointee.goingOn.removeFirst(count)
    }

    /// Bytes of a receive buffer, all of which a received datagram may use.
    var receiveBufferSize: Int { state.pointee.receiveBuffers.sizeMax }

    /// The bytes that a completion brought, valid until ``releaseBytes(of:)``. Once per completion that names a buffer.
    @inline(__always)
    func receivedBytes(of completion: Completion) -> UnsafeRawBufferPointer {
        guard let buffer = completion.buffer else { return UnsafeRawBufferPointer(start: nil, count: 0) }
        return state.pointee.receiveBuffers.bytes(buffer, length: Int(max(0, completion.result)))
    }

    /// Nobody needs the completion's bytes any more. Once per completion that names a buffer.
    @inline(__always)
    func releaseBytes(of completion: Completion) {
        guard let buffer = completion.buffer else { return }
        let length = Int(max(0, completion.result))
        if state.pointee.receiveBuffers.consume(buffer, length: length, hasMore: completion.bufferHasMore) {
            state.pointee.returns.append(buffer)
        }
    }

    // MARK: Lending

    /// The bytes, which a completion brought, are about to be told: until ``endLending()`` they may be lent. Never nested.
    func beginLending(_ bytes: UnsafeRawBufferPointer, of completion: Completion) {
        assert(state.pointee.lendable == nil, "bytes are told one after the other")
        guard let buffer = completion.buffer else { preconditionFailure("bytes without a receive buffer") }
        state.pointee.lendable = LendableBytes(bytes: bytes, buffer: buffer)
    }

    /// The bytes have been told.
    ///
    /// - Returns: whether they have been lent. Their buffer then comes back by itself.
    func endLending() -> Bool {
        defer { state.pointee.lendable = nil }
        return state.pointee.lendable == nil
    }

    /// A chunk that is these bytes, if they are among those being told and their receive buffer can be spared. Once for
    /// each time bytes are told.
    func lend(_ bytes: UnsafeRawBufferPointer) -> Chunk? {
        guard let lendable = state.pointee.lendable, lendable.contains(bytes) else { return nil }
        guard state.pointee.receiveBuffers.lend(lendable.buffer, length: lendable.bytes.count) else { return nil }
        state.pointee.lendable = nil
        return chunks.take(lent: lendable.buffer, bytes)
    }

    /// The channel's receive ended with ENOBUFS: it is told by `receiveBuffersReturned()`, in order of waiting.
    func waitForReceiveBuffers(_ id: RegistrationID) {
        state.pointee.starved.append(id)
        state.pointee.statistics.receiveBuffersExhausted &+= 1
    }
}
