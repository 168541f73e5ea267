/// The life of a channel as SwiftNIO has it: registered, then active, then closed, whatever of it was reached.
struct ChannelLifecycle {
    private enum State {
        case fresh
        case registered
        /// Active, though `channelActive` has not been fired.
        case activating
        case active
        case closed
    }

    /// What the pipeline is to be told of the end.
    enum Farewell {
        case nothing
        case unregistered
        case inactiveAndUnregistered
    }

    private var state = State.fresh

    var isOpen: Bool { state != .closed }
    var isRegistered: Bool { state != .fresh && state != .closed }
    var isActive: Bool { state == .activating || state == .active }

    mutating func register() {
        precondition(state == .fresh, "a channel registers once")
        state = .registered
    }

    mutating func beginActivation() {
        precondition(state == .registered, "a channel is registered before it becomes active, and becomes so once")
        state = .activating
    }

    /// `channelActive` is about to be fired.
    mutating func finishActivation() {
        precondition(state == .activating, "an activation ends that did not begin")
        state = .active
    }

    mutating func close() -> Farewell {
        defer { state = .closed }
        switch state {
        case .fresh: return .nothing
        case .registered, .activating: return .unregistered
        case .active: return .inactiveAndUnregistered
        case .closed: preconditionFailure("a channel closes once")
        }
    }
}
