/// Limits of a connection.
public struct ConnectionConfiguration: Sendable {
    /// Queued bytes above which ``Connection/isWritable`` turns false.
    public var highWaterMark = 64 * 1024
    /// Queued bytes at or below which it turns true again.
    public var lowWaterMark = 32 * 1024
    /// Queued bytes at which a writer that does not heed ``Connection/isWritable`` has its connection aborted.
    public var queuedBytesMax = 16 * 1024 * 1024
    /// Another process may hold a copy of the socket, so that close(2) alone would not end it: shut it down first.
    public var isShared = false

    /// The defaults: water marks 64 and 32 KiB, at most 16 MiB queued, not shared.
    public init() {}
}
