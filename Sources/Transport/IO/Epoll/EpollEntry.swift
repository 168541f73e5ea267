import CSocket
import Glibc

/// What is known of a descriptor between edges: poll(2)'s bits.
struct Readiness: OptionSet, BitwiseCopyable {
    var rawValue: UInt32

    /// A receive or accept may succeed. Set until one has been seen not to.
    static var readable: Self { Self(rawValue: UInt32(POLLIN)) }
    /// A send or connect may succeed. Set until one has been seen not to.
    static var writable: Self { Self(rawValue: UInt32(POLLOUT)) }
    /// The descriptor failed.
    static var failed: Self { Self(rawValue: UInt32(POLLERR)) }
    /// Both directions have ended.
    static var hungUp: Self { Self(rawValue: UInt32(POLLHUP)) }
    /// The peer has sent FIN.
    static var peerFinished: Self { Self(rawValue: UInt32(CSOCKET_POLLRDHUP)) }
    /// A byte out of band has come (tcp(7), "urgent data").
    static var urgent: Self { Self(rawValue: UInt32(POLLPRI)) }

    /// With one of these a short receive does not prove that the socket is drained: an end, an error or more bytes may
    /// follow for which there is no other edge.
    static var moreToRead: Self { [failed, hungUp, peerFinished, urgent] }

    /// Adds the events of an edge.
    @inline(__always)
    mutating func add(_ events: UInt32) {
        var events = Readiness(rawValue: events)
        if !events.isDisjoint(with: Self.moreToRead) { events.insert(.readable) }
        if !events.isDisjoint(with: [.failed, .hungUp]) { events.insert(.writable) }
        formUnion(events)
    }
}

/// A registration as the handler knows it, from its first operation until it is forgotten.
struct EpollEntry: BitwiseCopyable {
    /// Whose it is.
    var id: RegistrationID
    /// The registration's descriptor; -1 in a slot that nobody uses.
    var fd: Int32 = -1
    /// What epoll was given: `fd`, a copy of it when that was there already, -1 when epoll does not take it.
    var watchedFd: Int32 = -1
    var readiness: Readiness = [.readable, .writable]
    /// Kinds of operations that wait, a bit each.
    var waiting: UInt32 = 0
    /// It is on the list of those that have something to do without an edge.
    var isListed = false
    /// Bytes in order, and fewer than asked for only when there are no more.
    var isDrainedByShortReceive = false
    var receive = PendingReceive()
    var connect = PendingConnect()
    var poll = PendingPoll()
    var pollWrite = PendingPoll()
    var pollRead = PendingPoll()

    static let polls: UInt32 = OperationKind.poll.bit | OperationKind.pollWrite.bit | OperationKind.pollRead.bit

    @inline(__always)
    func waits(for kind: OperationKind) -> Bool { waiting & kind.bit != 0 }
}

/// A receive that waits for bytes or, with a message, for datagrams.
struct PendingReceive: BitwiseCopyable {
    var isMultishot = false
    /// Gives the room for name and control data; nil for a receive of bytes.
    var message: UnsafePointer<msghdr>?
}

/// A connect under way.
struct PendingConnect: BitwiseCopyable {
    var address: UnsafePointer<sockaddr>?
    var length: socklen_t = 0
    /// The kernel has begun (EINPROGRESS); calling again tells the outcome.
    var isInProgress = false
    /// The queue of a Unix-domain listener is full, and there is no edge for it.
    var isRetried = false
}

/// A poll that waits.
struct PendingPoll: BitwiseCopyable {
    var events: UInt32 = 0
    var isMultishot = false
}

/// The entries, indexed by slot.
struct EpollTable: ~Copyable {
    private var entries: UnsafeMutablePointer<EpollEntry>
    private var capacity: Int

    init(capacity: Int = 64) {
        precondition(capacity > 0)
        self.capacity = capacity
        entries = Self.allocate(capacity)
    }

    deinit {
        // Of registrations that the loop did not end.
        for slot in 0..<capacity where entries[slot].watchedFd != entries[slot].fd && entries[slot].watchedFd >= 0 {
            close(entries[slot].watchedFd)
        }
        entries.deallocate()
    }

    private static func allocate(_ capacity: Int) -> UnsafeMutablePointer<EpollEntry> {
        let entries = UnsafeMutablePointer<EpollEntry>.allocate(capacity: capacity)
        entries.initialize(repeating: EpollEntry(id: .handler), count: capacity)
        return entries
    }

    /// The entry of `id`, or nil when it has none.
    @inline(__always)
    func find(_ id: RegistrationID) -> UnsafeMutablePointer<EpollEntry>? {
        let slot = Int(id.slot)
        guard slot < capacity, entries[slot].id == id, entries[slot].fd >= 0 else { return nil }
        return entries + slot
    }

    /// The unused entry of a slot, given to `id`. Pointers to other entries are invalid afterwards.
    mutating func make(_ id: RegistrationID, fd: Int32) -> UnsafeMutablePointer<EpollEntry> {
        let slot = Int(id.slot)
        while slot >= capacity { grow() }
        assert(slot > 0 && entries[slot].fd < 0, "the slot's former owner was not forgotten")
        entries[slot] = EpollEntry(id: id, fd: fd)
        return entries + slot
    }

    private mutating func grow() {
        let larger = Self.allocate(capacity * 2)
        larger.update(from: entries, count: capacity)
        entries.deallocate()
        entries = larger
        capacity *= 2
    }
}
