/// Limits of a connection.
public struct ConnectionConfiguration: Sendable {
    /// Queued bytes above which ``Connection/isWritable`` turns false.
    public var highWaterMark = 64 * 1024
    /// Queued bytes at or below which it turns true again.
    public var lowWaterMark = 32 * 1024
    /// Queued bytes at which a writer that does not heed ``Connection/isWritable`` has its connection aborted.
    public var queuedBytesMax = 16 * 1024 * 1024
    /// File regions, descriptor messages and uncopied writes queued together at most, in number: one more has the
    /// connection aborted, as above.
    public var queuedSegmentsMax = 1024
    /// Bytes queued at which they are sent without copying them into the kernel (SENDMSG_ZC, Linux 6.1); nil: never.
    /// Pays on real network cards from some 8 KiB on; over loopback the kernel copies after all. TCP only: ignored
    /// on Unix-domain sockets. What the kernel holds counts neither as queued nor towards the marks; it is at most
    /// four sends of 128 KiB each, or of one uncopied write.
    public var zeroCopyThreshold: Int?
    /// Another process may hold a copy of the socket, so that close(2) alone would not end it: shut it down first.
    public var isShared = false
    /// That copy, if it can be told when it is gone: calls are saved from then on.
    public var sharedCopy: SharedCopy?
    /// Descriptors may come with the bytes (Unix-domain sockets): ``Connection/received(_:descriptors:)`` is called. It
    /// costs a poll and a call per receive. Without it, the kernel closes what descriptors come.
    public var receivesDescriptors = false

    /// The defaults: water marks 64 and 32 KiB, at most 16 MiB queued, not shared, all sends copied.
    public init() {}
}
