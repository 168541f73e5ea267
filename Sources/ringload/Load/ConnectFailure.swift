import Glibc
import Transport

/// What a failed attempt to connect means, and what to do about it.
enum ConnectFailure {
    static func text(_ error: ConnectError, target: SocketAddress) -> String {
        switch error {
        case .timedOut:
            "connecting to \(target): no answer within 10 s: see whether the address is right and no firewall drops it; if only some fail, "
                + "give a smaller --connect-at-once"
        case .cancelled: "connecting to \(target): the run ended first: let it run longer"
        case .failed(let error): "connecting to \(target): \(error): \(remedy(error.code))"
        }
    }

    private static func remedy(_ code: Int32) -> String {
        switch code {
        case ECONNREFUSED, ENOENT: "nobody listens there; start the server first, or name another address"
        case EADDRNOTAVAIL:
            "the ports of the source address are used up, or it is not this machine's; name more addresses, such as "
                + "--source 127.0.0.1-127.0.0.8"
        case EAGAIN: "the listener's backlog is full; give a smaller --connect-at-once"
        case ENETUNREACH, EHOSTUNREACH: "no route leads there; mend it, or name another address or --source"
        case EACCES, EPERM: "this user may not, or a firewall denies it; run as another user, or name another address"
        default: "see what the server logs, or name another address"
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
