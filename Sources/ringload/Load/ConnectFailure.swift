import Glibc
import Transport

/// What a failed attempt to connect means, and what to do about it.
enum ConnectFailure {
    static func text(_ error: ConnectError, target: SocketAddress) -> String {
        switch error {
        case .timedOut: "connecting to \(target): no answer within 10 s"
        case .cancelled: "connecting to \(target): the run ended first"
        case .failed(let error) where error.code == EADDRNOTAVAIL:
            "connecting to \(target): \(error): the ports of the source address are used up, or it is not this machine's; name more "
                + "addresses, such as --source 127.0.0.1-127.0.0.8"
        case .failed(let error): "connecting to \(target): \(error)"
        }
    }
}

extension CloseReason {
    /// For a connection that ended when it was not to.
    func loss(wasEndedByPeer: Bool) -> String {
        if wasEndedByPeer { return "the peer closed a connection (FIN) that was not done" }
        switch self {
        case .reset: return "the peer reset a connection"
        case .failed(let error): return "a connection failed: \(error)"
        case .loopStopped: return "the loop stopped"
        case .finished, .closed, .aborted, .writeQueueOverflow, .fileTooShort: return "a connection ended: \(self)"
        }
    }
}
