/// The sockets that no worker has been chosen for. Fresh and offered ones have different rules, so that neither waits
/// behind the other.
struct PendingSockets: Sendable, Codable {
    private(set) var fresh = PendingQueue()
    private(set) var offered = PendingQueue()

    var count: Int { fresh.count + offered.count }
    var isEmpty: Bool { fresh.isEmpty && offered.isEmpty }

    /// Whether any is of such a kind.
    func contains(where condition: (HeldSocket) -> Bool) -> Bool {
        fresh.all.contains(where: condition) || offered.all.contains(where: condition)
    }

    /// The oldest of those kinds.
    func first(fresh isFresh: Bool, offered isOffered: Bool) -> HeldSocket? {
        guard isFresh, let one = fresh.first else { return isOffered ? offered.first : nil }
        guard isOffered, let other = offered.first else { return one }
        return one.order < other.order ? one : other
    }

    mutating func append(_ socket: HeldSocket) {
        socket.isOffered ? offered.append(socket) : fresh.append(socket)
    }

    /// Takes out a socket that is the first of its kind.
    mutating func removeFirst(_ socket: HeldSocket) {
        let first = socket.isOffered ? offered.removeFirst() : fresh.removeFirst()
        precondition(first.order == socket.order, "only the oldest of a kind is taken out")
    }

    /// Puts back sockets that were not delivered, each where its age belongs.
    mutating func putBack(_ returned: [HeldSocket]) {
        fresh.putBack(returned.filter { !$0.isOffered })
        offered.putBack(returned.filter(\.isOffered))
    }

    mutating func removeAll() -> [HeldSocket] { fresh.removeAll() + offered.removeAll() }
}

/// Waiting sockets, oldest first.
struct PendingQueue: Sendable, Codable {
    private var sockets: [HeldSocket] = []
    /// Where the queue begins: removing the first moves this instead of every element.
    private var head = 0

    var count: Int { sockets.count - head }
    var isEmpty: Bool { count == 0 }
    var first: HeldSocket? { isEmpty ? nil : sockets[head] }
    var all: ArraySlice<HeldSocket> { sockets[head...] }

    mutating func append(_ socket: HeldSocket) {
        assert(sockets.last.map { $0.order < socket.order } ?? true)
        sockets.append(socket)
    }

    mutating func removeFirst() -> HeldSocket {
        let socket = sockets[head]
        head += 1
        if head == sockets.count {
            sockets.removeAll(keepingCapacity: true)
            head = 0
        } else if head >= 1_024, head * 2 >= sockets.count {
            sockets.removeFirst(head)
            head = 0
        }
        return socket
    }

    /// Puts back sockets that were not delivered, each where its age belongs.
    mutating func putBack(_ returned: [HeldSocket]) {
        guard !returned.isEmpty else { return }
        var merged: [HeldSocket] = []
        merged.reserveCapacity(returned.count + count)
        // Sequence numbers do not tell age: an old socket may have been sent again after newer ones.
        var rest = returned.sorted { $0.order < $1.order }[...]
        for socket in all {
            while let older = rest.first, older.order < socket.order {
                merged.append(older)
                rest.removeFirst()
            }
            merged.append(socket)
        }
        sockets = merged + rest
        head = 0
    }

    mutating func removeAll() -> [HeldSocket] {
        let taken = Array(all)
        sockets.removeAll()
        head = 0
        return taken
    }
}
