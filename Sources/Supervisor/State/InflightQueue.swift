/// An accepted socket on its way: what the supervisor knows of it.
struct HeldSocket: Hashable, Sendable, Codable {
    let socket: AcceptedSocket
    /// Its place in the order of acceptance, which redelivery keeps.
    let order: UInt64
    /// The generation of the worker that gave it up, if one did; nil for a fresh one.
    var offeredBy: Generation?
    /// Deliveries that failed.
    var failures = 0

    /// Whether a draining worker gave it up: its state goes with it, in a packet of its own.
    var isOffered: Bool { offeredBy != nil }
}

/// The sockets assigned to one incarnation of a worker and not yet adopted, in order of their sequence numbers.
struct InflightQueue: Sendable, Codable {
    private var sockets: [HeldSocket] = []
    /// The lowest number not adopted.
    private(set) var first: SequenceNumber = 0
    /// How many at the tail are not in a packet yet.
    private(set) var unsent = 0

    /// The number the next socket gets.
    var next: SequenceNumber { first + SequenceNumber(sockets.count) }
    var count: Int { sockets.count }
    var isEmpty: Bool { sockets.isEmpty }
    var all: [HeldSocket] { sockets }
    var offeredCount: Int { sockets.count(where: \.isOffered) }

    mutating func append(_ socket: HeldSocket) {
        sockets.append(socket)
        unsent += 1
    }

    /// The next packet: at most `max` fresh sockets not in a packet yet, or a single offered one.
    mutating func nextBatch(max: Int) -> (first: SequenceNumber, sockets: [SocketID])? {
        guard unsent > 0 else { return nil }
        let start = sockets.count - unsent
        var end = start + 1
        if !sockets[start].isOffered {
            let limit = min(start + max, sockets.count)
            while end < limit, !sockets[end].isOffered { end += 1 }
        }
        unsent -= end - start
        return (first + SequenceNumber(start), sockets[start..<end].map(\.socket.id))
    }

    /// Takes out everything below `adopted`: what the worker has, and what it rejected.
    ///
    /// Nil, with nothing changed, if no honest worker can have said so.
    mutating func settle(
        adopted: SequenceNumber, rejected ranges: [Range<SequenceNumber>]
    ) -> (adopted: [SocketID], rejected: [HeldSocket])? {
        assert(unsent == 0, "a page is read between lists of actions, never within")
        guard adopted >= first, adopted <= next else { return nil }
        guard !ranges.isEmpty else {
            let ids = sockets.prefix(Int(adopted - first)).map(\.socket.id)
            drop(to: adopted)
            return (ids, [])
        }
        var kept: [SocketID] = []
        var rejected: [HeldSocket] = []
        var at = first
        for range in ranges {
            guard range.lowerBound >= at, range.upperBound <= adopted else { return nil }
            kept += sockets[index(at)..<index(range.lowerBound)].map(\.socket.id)
            rejected += sockets[index(range.lowerBound)..<index(range.upperBound)]
            at = range.upperBound
        }
        kept += sockets[index(at)..<index(adopted)].map(\.socket.id)
        drop(to: adopted)
        return (kept, rejected)
    }

    /// Takes back everything from `sequence` on: it did not go out, so its numbers are free again.
    mutating func takeBack(from sequence: SequenceNumber) -> [HeldSocket] {
        assert(unsent == 0, "a refusal is reported after the list of actions")
        guard sequence < next else { return [] }
        precondition(sequence >= first, "a refused packet cannot have been adopted")
        let taken = Array(sockets[index(sequence)...])
        sockets.removeLast(taken.count)
        return taken
    }

    /// Takes out everything. The numbers are not used again.
    mutating func removeAll() -> [HeldSocket] {
        let taken = sockets
        first = next
        unsent = 0
        sockets.removeAll(keepingCapacity: true)
        return taken
    }

    private func index(_ sequence: SequenceNumber) -> Int { Int(sequence - first) }

    private mutating func drop(to sequence: SequenceNumber) {
        sockets.removeFirst(index(sequence))
        first = sequence
    }
}
