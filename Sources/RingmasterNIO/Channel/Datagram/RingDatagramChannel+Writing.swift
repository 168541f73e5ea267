import Glibc
import NIOCore
import Transport

/// What a datagram channel writes: the socket below is handed what was flushed, at once.
extension RingDatagramChannel {
    func append(_ data: NIOAny, _ promise: EventLoopPromise<Void>?) {
        guard lifecycle.isOpen else { return fail(promise, ChannelError.ioOnClosedChannel) }
        if let envelope = tryUnwrapData(data, as: AddressedEnvelope<ByteBuffer>.self) {
            append(envelope, promise)
        } else if peer != nil {
            append(PendingDatagrams.Write(data: unwrapData(data, as: ByteBuffer.self), promise: promise))
        } else {
            fail(promise, DatagramChannelError.WriteOnUnconnectedSocketWithoutAddress())
        }
    }

    private func append(_ envelope: AddressedEnvelope<ByteBuffer>, _ promise: EventLoopPromise<Void>?) {
        if let peer, envelope.remoteAddress != peer {
            let error = DatagramChannelError.WriteOnConnectedSocketWithInvalidAddress(
                envelopeRemoteAddress: envelope.remoteAddress, connectedRemoteAddress: peer)
            return fail(promise, error)
        }
        if let size = envelope.metadata?.segmentSize, !(1...Int(UInt16.max)).contains(size) {
            return fail(promise, IOError(errnoCode: EINVAL, reason: "a segment has 1 to 65,535 bytes"))
        }
        append(
            PendingDatagrams.Write(
                data: envelope.data, address: peer == nil ? envelope.remoteAddress : nil, metadata: envelope.metadata,
                promise: promise))
    }

    private func append(_ write: PendingDatagrams.Write) {
        guard !writes.pointee.append(write) else { return }
        writableFlag.store(false, ordering: .relaxed)
        pipeline.syncOperations.fireChannelWritabilityChanged()
    }

    func handOver() {
        guard let datagram else { return }
        while let write = writes.pointee.next {
            let size = write.metadata?.segmentSize ?? settings.segmentSize
            let isQueued = write.data.withUnsafeReadableBytes { bytes in
                datagram.send(
                    bytes, to: write.address.map(CoreAddress.init), segmentSize: size,
                    trafficClass: write.metadata?.ecnState.codePoint)
            }
            // The socket is closing by itself, and about to say so: what waits fails then.
            guard isQueued else { return }
            writes.pointee.handedOver()
        }
    }

    /// The socket below has sent the oldest datagrams, or dropped them.
    func settled(_ count: Int, _ outcome: DatagramOutcome) {
        switch outcome {
        case .taken: writes.pointee.settle(count, nil)
        case .failed(let error): writes.pointee.settle(count, IOError(error))
        case .dropped: writes.pointee.settle(count, dropReason)
        }
        told()
    }

    /// Keeps promises, and tells of writability.
    func told() {
        tellPromises()
        guard lifecycle.isOpen, writes.pointee.becameWritable() else { return }
        writableFlag.store(true, ordering: .relaxed)
        pipeline.syncOperations.fireChannelWritabilityChanged()
    }

    func tellPromises() {
        while PendingDatagrams.tellOldest(writes) {}
    }
}
