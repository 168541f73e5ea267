import NIOCore

/// How a stream channel gives its socket up, for another process to go on with. The channel itself ends as if it had been
/// closed; only the peer notices nothing.
extension RingStreamChannel {
    /// Whether ``move(_:)`` would begin: nothing is on its way out, and both directions are open.
    var canMove: Bool {
        guard lifecycle.isActive, !isInputClosed, writes.pointee.isEmpty, case .open = output else { return false }
        return connection?.canDetach ?? false
    }

    /// Begins to give the socket up. `moved` is called from the loop with the socket and what was received and not read, when
    /// the kernel is done with it; or with nil, if the connection has broken meanwhile. Call it only when ``canMove``.
    func move(_ moved: @escaping (LeftSocket?) -> Void) {
        guard canMove, let connection else { preconditionFailure("the channel cannot move now") }
        var unread = parked
        let hasBegun = connection.detach { [self] detached in
            unread.writeBytes(detached.remainder.unread)
            moved(LeftSocket(fd: detached.takeDescriptor(), unread: unread))
            left()
        }
        precondition(hasBegun, "what can be detached is")
        holder = .leaving { [self] in
            moved(nil)
            left()
        }
        close(ChannelError.ioOnClosedChannel, nil)
    }

    private func left() {
        holder = .nobody
        released()
    }
}

/// A socket that has left its channel.
struct LeftSocket {
    var fd: Int32
    /// What was received and not read: the next channel reads it first.
    var unread: ByteBuffer
}
