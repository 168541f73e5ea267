import Transport

/// A connection between two workers: what one worker's service froze, for the service of another to thaw. Its sockets
/// travel beside it, the client's first.
public struct MigratedConnection: Hashable, Sendable {
    /// Where it came from and when it was accepted, as its first worker was told.
    public let record: ConnectionRecord
    /// How many sockets it has: 1 to ``socketsMax``.
    public let socketCount: Int
    /// What the service knows of it, in a form of the service's own: at most ``stateSizeMax`` bytes.
    public let state: [UInt8]

    /// The most sockets of one connection.
    public static let socketsMax = FrozenConnection.socketsMax
    /// States of up to so many bytes are in the packet; larger ones are in a sealed memfd, which travels behind the sockets.
    public static let inlineStateMax = 4_096
    /// The most bytes of state. A connection with more cannot move.
    public static let stateSizeMax = 16 << 20

    /// A frozen connection.
    ///
    /// - Precondition: 1 to ``socketsMax`` sockets and at most ``stateSizeMax`` bytes of state.
    public init(record: ConnectionRecord, socketCount: Int, state: [UInt8]) {
        precondition(1...Self.socketsMax ~= socketCount, "no connection has none, or so many sockets")
        precondition(state.count <= Self.stateSizeMax, "a state of more than 16 MiB cannot move")
        self.record = record
        self.socketCount = socketCount
        self.state = state
    }

    /// The same connection with this state.
    func with(state: [UInt8]) -> MigratedConnection {
        MigratedConnection(record: record, socketCount: socketCount, state: state)
    }

    /// Whether the state is too large for the packet.
    var isStateInFile: Bool { state.count > Self.inlineStateMax }
    /// The sockets, and the file with the state when there is one.
    var descriptorCount: Int { socketCount + (isStateInFile ? 1 : 0) }
}
