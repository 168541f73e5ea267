/// What a worker counts in its ``StatusPage``. A count goes on from one worker of a slot to the next.
public enum Counter: Int, CaseIterable, Sendable {
    /// Connections adopted.
    case accepted
    /// Connections closed, for whatever reason.
    case closed
    /// Connections cut at a drain's deadline or by a fast stop; counted in ``closed`` too.
    case forcedClose
    /// Connections that came without a descriptor because the worker's table was full.
    case rejected
    /// Bytes received from clients.
    case bytesReceived
    /// Bytes sent to clients.
    case bytesSent
    /// Receives that found the buffer ring empty.
    case receiveBuffersExhausted
    /// Completions that the kernel had to keep because the completion queue was full.
    case completionOverflow
    /// Completions dropped because their registration was gone.
    case staleCompletions
    /// Connection attempts to an upstream that failed or timed out.
    case upstreamConnectFailures
    /// Connections given to another worker; counted in ``closed`` too.
    case migratedAway
    /// Connections taken over from another worker; counted in ``accepted`` too.
    case migratedHere
    /// Offers that were refused, see `Packet.offerRefused(number:)`: the connection stayed. One counts again each time.
    case migrationsRefused
}
