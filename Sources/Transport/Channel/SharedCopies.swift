import Synchronization

/// Another process's copies of sockets: it lets go of them in the order of their numbers, and says in shared memory how far
/// it has. Any thread.
public final class SharedCopies: @unchecked Sendable {
    // Sendable: an atomic, in memory that its owner keeps.
    private let released: UnsafePointer<Atomic<UInt64>>
    private let owner: AnyObject

    /// - Parameters:
    ///   - released: every copy with a smaller number is closed. Stored with release order.
    ///   - owner: keeps that memory.
    public init(released: UnsafePointer<Atomic<UInt64>>, owner: AnyObject) {
        self.released = released
        self.owner = owner
    }

    /// Whether the copy with this number is closed for certain.
    public func isGone(_ number: UInt64) -> Bool { released.pointee.load(ordering: .acquiring) > number }
}

/// Another process's copy of one socket.
public struct SharedCopy: Sendable {
    private let copies: SharedCopies
    private let number: UInt64

    /// The one with this number.
    public init(_ copies: SharedCopies, number: UInt64) {
        self.copies = copies
        self.number = number
    }

    /// Whether it is closed for certain. Then close(2) ends the connection.
    public var isGone: Bool { copies.isGone(number) }
}
