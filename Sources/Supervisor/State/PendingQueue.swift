/// The sockets that no worker has been chosen for, oldest first.
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
