import CRing

/// What an operation does. At most one of each kind is in flight per registration, so that a kind together with
/// slot and generation names one operation; ``UserData`` relies on that.
public enum OperationKind: UInt8, CaseIterable, Sendable, BitwiseCopyable {
    /// Accept connections, multishot.
    case accept = 1
    /// Receive into the loop's buffers: bytes, or datagrams with their addresses.
    case receive = 2
    /// Send bytes or a gathered message.
    case send = 3
    /// Connect.
    case connect = 4
    /// Wait for readiness, or for the peer's departure.
    case poll = 5
    /// Wait for room to write: no send waits for it.
    case pollWrite = 6
    /// Send without copying, first of the sends that may wait for their notification at once.
    case zeroCopySend0 = 7
    /// Send without copying, second of them.
    case zeroCopySend1 = 8
    /// Send without copying, third of them.
    case zeroCopySend2 = 9
    /// Send without copying, fourth of them.
    case zeroCopySend3 = 10
    /// Wait for something to read, for what is received by a plain call (descriptors).
    case pollRead = 11
    /// Cancel the registration's accept.
    case cancelAccept = 12
    /// Cancel the registration's receive.
    case cancelReceive = 13
    /// Cancel the registration's send.
    case cancelSend = 14
    /// Cancel the registration's connect.
    case cancelConnect = 15
    /// Cancel the registration's poll.
    case cancelPoll = 16
    /// Cancel the registration's wait for room to write.
    case cancelPollWrite = 17
    /// Cancel the first send without copying.
    case cancelZeroCopySend0 = 18
    /// Cancel the second.
    case cancelZeroCopySend1 = 19
    /// Cancel the third.
    case cancelZeroCopySend2 = 20
    /// Cancel the fourth.
    case cancelZeroCopySend3 = 21
    /// Cancel the registration's wait for something to read.
    case cancelPollRead = 22

    private static let cancellationOffset: UInt8 = 11
    private static let rawValueMax: UInt8 = cancellationOffset * 2

    /// The kind of that number, or nil when there is none. In the loop over completions, where the compiler's own
    /// table of 22 numbers costs more than all else that is looked up there.
    @inline(__always)
    public init?(rawValue: UInt8) {
        guard rawValue &- 1 < Self.rawValueMax else { return nil }
        // The cases are numbered from 1 without a gap in their order, so a case's bits are its number less 1.
        self = unsafeBitCast(rawValue &- 1, to: OperationKind.self)
    }

    /// The kind that cancels this one; nil for a kind that is itself a cancellation.
    public var cancellation: OperationKind? {
        rawValue <= Self.cancellationOffset ? OperationKind(rawValue: rawValue + Self.cancellationOffset) : nil
    }

    /// The kind that this one cancels; nil for a kind that is no cancellation.
    public var cancels: OperationKind? {
        rawValue > Self.cancellationOffset ? OperationKind(rawValue: rawValue - Self.cancellationOffset) : nil
    }

    /// The bits of all kinds that are not cancellations.
    static var cancellableBits: UInt32 { (1 << (UInt32(cancellationOffset) + 1)) - 2 }

    /// This kind's bit in a set of kinds.
    var bit: UInt32 { 1 << UInt32(rawValue) }
}

/// The 64 bits that travel with an operation and come back with each of its completions: kind (8 bits),
/// generation (24), slot (32). Packed in C (`cring_user_data`). Never 0.
@frozen
public struct UserData: RawRepresentable, Hashable, Sendable, BitwiseCopyable {
    /// The bits as the kernel carries them.
    public var rawValue: UInt64

    /// Takes bits that came back from the kernel as they are.
    public init(rawValue: UInt64) {
        self.rawValue = rawValue
    }

    /// Names the operation of `kind` that belongs to `registration`.
    public init(_ kind: OperationKind, _ registration: RegistrationID) {
        rawValue = cring_user_data(kind.rawValue, registration.generation, registration.slot)
    }

    /// The kind, or nil when the bits are none of ours.
    public var kind: OperationKind? { OperationKind(rawValue: cring_user_data_operation(rawValue)) }

    /// The registration the operation was submitted for.
    public var registration: RegistrationID {
        RegistrationID(slot: cring_user_data_slot(rawValue), generation: cring_user_data_generation(rawValue))
    }
}

/// Names a registration: a slot of the loop's table, and which of its successive owners is meant.
@frozen
public struct RegistrationID: Hashable, Sendable, BitwiseCopyable {
    /// Index in the loop's table. Slot 0 is the handler's own.
    public var slot: UInt32
    /// 24 bits; goes up by one each time the slot is freed.
    public var generation: UInt32

    /// The generation after the last is 0 again.
    public static let generationMax: UInt32 = 0xff_ffff

    init(slot: UInt32, generation: UInt32) {
        assert(generation <= Self.generationMax)
        self.slot = slot
        self.generation = generation
    }

    /// The handler's own slot: its wake-up poll is submitted under it.
    public static var handler: RegistrationID { RegistrationID(slot: 0, generation: 0) }
}
