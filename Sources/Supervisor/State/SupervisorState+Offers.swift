import Transport

/// Connections that draining workers give up, for their successors.
extension SupervisorState {
    /// Offered connections that may wait here at a time for workers to adopt what is on the way to them. Nobody serves
    /// them meanwhile.
    static let offersWaitingMax = 1_024

    /// Takes a connection if a worker has room for it. What is taken is held like an accepted socket.
    ///
    /// `isLastCopy`: the worker is reaped, or has said that it is done, so that what is refused is lost. Nobody can have
    /// operated on it since it was frozen: it waits for room.
    mutating func offered(
        _ worker: WorkerID, _ number: UInt32, _ socket: AcceptedSocket, isLastCopy: Bool, _ now: MonotonicTime,
        _ actions: inout [Action]
    ) {
        guard let giver = slot(of: worker) else { return refuse(worker, number, socket.id, &actions) }
        let held = HeldSocket(socket: socket, order: orderNext, offeredBy: slots[giver].generation)
        guard slots[giver].role == .retired, slots[giver].isToOffer != false, listeners.contains(socket.listener),
            isKindServed(held),
            isLastCopy ? noDelivery == nil : hasRoom(held)
        else {
            if !slots[giver].wasRefused { actions.append(.report(.offersRefused(worker))) }
            slots[giver].wasRefused = true
            return refuse(worker, number, socket.id, &actions)
        }
        orderNext += 1
        counters.offersTaken += 1
        if isLastCopy { slots[giver].saved() }
        actions.append(.takeOffer(worker, number: number, socket.id))
        pending.append(held)
    }

    /// Whether the workers have room for this beside all that waits. That none may have more on the way at the moment is
    /// no reason to refuse: it passes.
    private func hasRoom(_ held: HeldSocket) -> Bool {
        guard case .running = phase, pending.offered.count < Self.offersWaitingMax else { return false }
        return slots.reduce(0) { $0 + ($1.canTake(held) ? $1.spare : 0) } > pending.count
    }

    /// Whether its listener still has the kind of service that the connection had.
    func isKindServed(_ held: HeldSocket) -> Bool {
        guard let generation = held.offeredBy else { return true }
        return servedSince[held.socket.listener, default: 0] <= generation
    }

    private mutating func refuse(
        _ worker: WorkerID, _ number: UInt32, _ socket: SocketID, _ actions: inout [Action]
    ) {
        counters.offersRefused += 1
        actions.append(.refuseOffer(worker, number: number, socket))
    }
}
