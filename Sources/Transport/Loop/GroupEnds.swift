import Synchronization

/// How the loops of a group have ended.
final class GroupEnds: Sendable {
    private struct State {
        var ends: [EventLoopGroup.End?]
        var actions: [@Sendable ([EventLoopGroup.End]) -> Void] = []

        /// All of them, when the last has come.
        var complete: [EventLoopGroup.End]? {
            let known = ends.compactMap { $0 }
            return known.count == ends.count ? known : nil
        }
    }

    private let state: Mutex<State>

    init(count: Int) {
        state = Mutex(State(ends: Array(repeating: nil, count: count)))
    }

    var all: [EventLoopGroup.End]? { state.withLock { $0.complete } }

    func record(_ end: EventLoopGroup.End, index: Int) {
        let (complete, actions) = state.withLock { state in
            assert(state.ends[index] == nil)
            state.ends[index] = end
            return (state.complete, state.actions)
        }
        guard let complete else { return }
        for action in actions { action(complete) }
    }

    func whenComplete(_ action: @escaping @Sendable ([EventLoopGroup.End]) -> Void) {
        let complete = state.withLock { state in
            if state.complete == nil { state.actions.append(action) }
            return state.complete
        }
        if let complete { action(complete) }
    }
}
