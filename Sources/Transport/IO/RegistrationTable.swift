/// Who awaits which completions: a slot per channel, with a count of the operations in flight for it.
///
/// A slot lives until every operation submitted for it has had its terminal completion. Cancelling the
/// registration only marks it; the last completion frees it, and the next owner gets the next generation, so
/// that a stale completion is recognised. Notifications about the memory of sends keep the slot, but not the
/// descriptor: its channel is released before. Loop thread only.
struct RegistrationTable: ~Copyable {
    private enum Phase {
        case open
        /// To be released as soon as nothing is in flight but notifications.
        case cancelled
        /// The channel has been told that its descriptor can be closed.
        case released
    }

    private struct Entry {
        var channel: Unmanaged<Channel>?
        var generation: UInt32 = 0
        /// Kinds in flight, one bit each. Also the count: at most one of a kind.
        var inFlight: UInt32 = 0
        /// Those of them that are over but for the kernel's notification that it has let go of their memory.
        var notifying: UInt32 = 0
        var phase = Phase.open
        var nextFree: UInt32 = 0
    }

    /// What became of a completion.
    enum Delivery {
        /// Hand it to the channel, whose registration is ending already (`isEnding`) if this may have been what it waited for.
        case deliver(Unmanaged<Channel>, isEnding: Bool)
        /// It belongs to a former owner of the slot, or to nobody.
        case stale
    }

    private var entries: UnsafeMutablePointer<Entry>
    private var capacity: Int
    /// Slots ever used; slot 0 is the handler's.
    private var used = 1
    private var firstFree: UInt32 = 0
    /// Channels registered and not yet freed.
    private(set) var count = 0

    /// - Parameter firstGeneration: of the first slots; a test of the wrap begins near the last.
    init(capacity: Int = 64, firstGeneration: UInt32 = 0) {
        self.capacity = capacity
        entries = .allocate(capacity: capacity)
        entries.initialize(repeating: Entry(generation: firstGeneration), count: capacity)
    }

    deinit {
        for slot in 1..<used { entries[slot].channel?.release() }
        entries.deallocate()
    }

    /// Gives `channel` a slot and keeps it alive until the slot is freed.
    mutating func register(_ channel: Channel) -> RegistrationID {
        let slot: UInt32
        if firstFree != 0 {
            slot = firstFree
            firstFree = entries[Int(slot)].nextFree
        } else {
            if used == capacity { grow() }
            slot = UInt32(used)
            used += 1
        }
        assert(entries[Int(slot)].channel == nil && entries[Int(slot)].inFlight == 0)
        entries[Int(slot)].channel = .passRetained(channel)
        entries[Int(slot)].phase = .open
        count += 1
        return RegistrationID(slot: slot, generation: entries[Int(slot)].generation)
    }

    private mutating func grow() {
        let larger = UnsafeMutablePointer<Entry>.allocate(capacity: capacity * 2)
        larger.moveInitialize(from: entries, count: capacity)
        (larger + capacity).initialize(repeating: Entry(), count: capacity)
        entries.deallocate()
        entries = larger
        capacity *= 2
    }

    /// Notes that an operation of `kind` is in flight.
    @inline(__always)
    mutating func began(_ kind: OperationKind, _ id: RegistrationID) {
        // A channel forgets its registration before it ends.
        assert(isCurrent(id), "an operation for a registration that has ended")
        let entry = entries + Int(id.slot)
        assert(entry.pointee.inFlight & kind.bit == 0, "two operations of one kind in flight")
        entry.pointee.inFlight |= kind.bit
    }

    /// Whether an operation of `kind` is in flight.
    func isInFlight(_ kind: OperationKind, _ id: RegistrationID) -> Bool {
        isCurrent(id) && entries[Int(id.slot)].inFlight & kind.bit != 0
    }

    /// The kinds that are in flight, one bit each (``OperationKind/bit``).
    func inFlight(_ id: RegistrationID) -> UInt32 {
        isCurrent(id) ? entries[Int(id.slot)].inFlight : 0
    }

    /// The owner of `id`, or nil when it has been freed.
    @inline(__always)
    func channel(_ id: RegistrationID) -> Unmanaged<Channel>? {
        isCurrent(id) ? entries[Int(id.slot)].channel : nil
    }

    /// Finds who awaits the completion, and if it is terminal, counts the operation as ended.
    @inline(__always)
    mutating func completed(_ kind: OperationKind, _ id: RegistrationID, isTerminal: Bool) -> Delivery {
        let slot = Int(id.slot)
        guard slot < used else { return .stale }
        let entry = entries + slot
        // Something is in flight only for a slot that has an owner.
        guard entry.pointee.generation == id.generation, entry.pointee.inFlight & kind.bit != 0 else { return .stale }
        if isTerminal {
            entry.pointee.inFlight &= ~kind.bit
            entry.pointee.notifying &= ~kind.bit
        }
        return .deliver(entry.pointee.channel!, isEnding: isTerminal && entry.pointee.phase != .open)
    }

    /// Notes that of the operation of `kind` only the notification is still to come.
    mutating func awaitNotification(_ kind: OperationKind, _ id: RegistrationID) {
        precondition(isInFlight(kind, id), "a notification of an operation that is over")
        entries[Int(id.slot)].notifying |= kind.bit
    }

    /// Whether of the operation of `kind` only the notification is still to come.
    func awaitsNotification(_ kind: OperationKind, _ id: RegistrationID) -> Bool {
        isCurrent(id) && entries[Int(id.slot)].notifying & kind.bit != 0
    }

    /// Marks the registration as ended: it is released, and then freed, as soon as the kernel allows it.
    mutating func cancel(_ id: RegistrationID) {
        precondition(isCurrent(id) && entries[Int(id.slot)].phase == .open, "a registration ends once")
        entries[Int(id.slot)].phase = .cancelled
    }

    /// Whether the registration is marked as ended and not freed yet.
    @inline(__always)
    func isEnding(_ id: RegistrationID) -> Bool {
        // The phase first: hardly any registration is ending.
        assert(Int(id.slot) < used, "a registration that never was")
        return entries[Int(id.slot)].phase != .open && isCurrent(id)
    }

    /// Returns the channel, once, if it was cancelled and nothing is in flight but notifications.
    mutating func releaseIfDone(_ id: RegistrationID) -> Unmanaged<Channel>? {
        guard isCurrent(id), entries[Int(id.slot)].phase == .cancelled else { return nil }
        guard entries[Int(id.slot)].inFlight == entries[Int(id.slot)].notifying else { return nil }
        entries[Int(id.slot)].phase = .released
        return entries[Int(id.slot)].channel
    }

    /// Frees the slot if it was released and nothing is in flight; returns its channel, whose reference the caller now owns.
    mutating func freeIfDone(_ id: RegistrationID) -> Unmanaged<Channel>? {
        guard isCurrent(id), entries[Int(id.slot)].phase == .released else { return nil }
        guard entries[Int(id.slot)].inFlight == 0 else { return nil }
        let slot = Int(id.slot)
        let channel = entries[slot].channel!
        entries[slot].channel = nil
        entries[slot].generation = (entries[slot].generation + 1) & RegistrationID.generationMax
        entries[slot].nextFree = firstFree
        firstFree = id.slot
        count -= 1
        return channel
    }

    /// The channels registered now.
    func channels() -> [Channel] {
        (1..<max(used, 1)).compactMap { entries[$0].channel?.takeUnretainedValue() }
    }

    @inline(__always)
    private func isCurrent(_ id: RegistrationID) -> Bool {
        let slot = Int(id.slot)
        // Slot 0 never has an owner here: it is the handler's.
        return slot < used && entries[slot].generation == id.generation && entries[slot].channel != nil
    }
}
