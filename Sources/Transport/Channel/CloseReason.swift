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
    /// More than ``ConnectionConfiguration/queuedBytesMax`` was written.
    case writeQueueOverflow
    /// The loop stopped.
    case loopStopped
    /// The kernel reported another failure, such as ETIMEDOUT.
    case failed(SystemError)
}
