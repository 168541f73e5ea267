/// Why a connection ended.
public enum CloseReason: Hashable, Sendable {
    /// Both sides sent their FIN.
    case finished
    /// ``Connection/close()`` was called.
    case closed
    /// ``Connection/abort()`` was called.
    case aborted
    /// The peer sent RST.
    case reset
    /// More than ``ConnectionConfiguration/queuedBytesMax`` or ``ConnectionConfiguration/queuedSegmentsMax`` was written.
    case writeQueueOverflow
    /// A ``FileRegion`` reaches beyond the end of its file. What there was of it has been sent.
    case fileTooShort
    /// The loop stopped.
    case loopStopped
    /// The kernel reported another failure, such as ETIMEDOUT; or ETOOMANYREFS (unix(7)): more descriptors are on their way between the
    /// processes of this user than a process may have open.
    case failed(SystemError)
}
