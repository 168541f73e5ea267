import Synchronization

/// How the loops of a group have ended.
final class GroupEnds: Sendable {
    typealias Action = @Sendable ([EventLoopGroup.End]) -> Void

    private struct State {
        var ends: [EventLoopGroup.End?]
        var actions: [Action] = []

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
        let last: (ends: [EventLoopGroup.End], actions: [Action])? = state.withLock { state in
            assert(state.ends[index] == nil)
            state.ends[index] = end
            guard let ends = state.complete else { return nil }
            // They may hold the group, which holds this.
            defer { state.actions = [] }
            return (ends, state.actions)
        }
        guard let last else { return }
        for action in last.actions { action(last.ends) }
    }

    func whenComplete(_ action: @escaping Action) {
        let complete = state.withLock { state in
            if state.complete == nil { state.actions.append(action) }
            return state.complete
        }
        if let complete { action(complete) }
    }
}
