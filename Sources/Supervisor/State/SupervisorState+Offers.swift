import Transport

/// Connections that draining workers give up, for their successors.
extension SupervisorState {
    /// Takes a connection if a worker has room for it now. What is taken is held like an accepted socket.
    mutating func offered(
        _ worker: WorkerID, _ number: UInt32, _ socket: AcceptedSocket, _ now: MonotonicTime,
        _ actions: inout [Action]
    ) {
        let held = HeldSocket(socket: socket, order: orderNext, offeredBy: slot(of: worker).map { slots[$0].generation } ?? 0)
        guard let giver = slot(of: worker) else {
            // The process is gone: who holds a connection of it that nobody took, holds the last of it.
            return refuse(worker, number, socket.id, &actions)
        }
        guard case .running = phase, slots[giver].role == .retired, listeners.contains(socket.listener),
            servedSince[socket.listener, default: 0] <= slots[giver].generation, holdOffUntil == nil,
            let taker = balancer.choose(among: slots, for: held, now: now)
        else {
            if !slots[giver].wasRefused { actions.append(.report(.offersRefused(worker))) }
            slots[giver].wasRefused = true
            return refuse(worker, number, socket.id, &actions)
        }
        orderNext += 1
        counters.offersTaken += 1
        actions.append(.takeOffer(worker, number: number, socket.id))
        slots[taker].assign(held)
    }

    private mutating func refuse(
        _ worker: WorkerID, _ number: UInt32, _ socket: SocketID, _ actions: inout [Action]
    ) {
        counters.offersRefused += 1
        actions.append(.refuseOffer(worker, number: number, socket))
    }
}
