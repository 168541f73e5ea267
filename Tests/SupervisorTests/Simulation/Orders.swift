import Supervisor

/// The simulation's book of what was commanded and of what became of it: each command is answered once, each generation
/// comes to serve or is given up.
struct Orders {
    private(set) var violations: [String] = []
    /// Commands without an answer, and those without an id among them.
    private var open: Set<CommandID> = []
    private var anonymousOpen = 0
    private var idNext: UInt32 = 0
    /// What the shell prepared for generations that neither serve nor are given up.
    private(set) var prepared: [Generation: Set<UInt16>] = [:]
    /// How many workers of such a generation died.
    private var deathsOfPrepared: [Generation: Int] = [:]
    private(set) var serving: Generation = 0
    private(set) var listeners: Set<UInt16>
    private var listenerNext: UInt16
    /// Of generations that are prepared: the listeners that get another kind of service.
    private var changes: [Generation: Set<UInt16>] = [:]
    /// Since when a listener has its kind of service.
    private(set) var servedSince: [UInt16: Generation] = [:]

    init(listeners: Set<UInt16>) {
        self.listeners = listeners
        listenerNext = (listeners.max() ?? 0) + 1
    }

    var isSettled: Bool { open.isEmpty && anonymousOpen == 0 && prepared.isEmpty }

    /// A command is given; nil if nobody waits for its answer.
    mutating func command(isAnonymous: Bool) -> CommandID? {
        if isAnonymous {
            anonymousOpen += 1
            return nil
        }
        defer { idNext += 1 }
        open.insert(CommandID(idNext))
        return CommandID(idNext)
    }

    /// A generation with the listeners of the last one, of which some go, one may come, and some get another service.
    mutating func prepare(
        _ generation: Generation, using random: inout some RandomNumberGenerator
    ) -> (listeners: Set<UInt16>, changed: Set<UInt16>) {
        var next = listeners.sorted().filter { _ in Int.random(in: 0..<4, using: &random) > 0 }
        if next.isEmpty || Int.random(in: 0..<3, using: &random) == 0 {
            next.append(listenerNext)
            listenerNext += 1
        }
        require(prepared[generation] == nil && generation > serving, "generation \(generation) is taken")
        prepared[generation] = Set(next)
        let changed = Set(next.filter { _ in Int.random(in: 0..<5, using: &random) == 0 })
        changes[generation] = changed
        return (Set(next), changed)
    }

    mutating func workerDied(_ generation: Generation) {
        if prepared[generation] != nil { deathsOfPrepared[generation, default: 0] += 1 }
    }

    /// Deaths of a generation that is still prepared.
    func deaths(_ generation: Generation) -> Int {
        prepared[generation] == nil ? 0 : deathsOfPrepared[generation, default: 0]
    }

    mutating func finish(_ id: CommandID?) {
        if let id {
            require(open.remove(id) != nil, "\(id) answered unasked or twice")
        } else {
            require(anonymousOpen > 0, "an answer to nobody")
            anonymousOpen -= 1
        }
    }

    mutating func commit(_ generation: Generation, _ listeners: Set<UInt16>) {
        require(prepared.removeValue(forKey: generation) == listeners, "generation \(generation) serves unprepared")
        serving = generation
        for listener in changes.removeValue(forKey: generation) ?? [] { servedSince[listener] = generation }
        self.listeners = listeners
    }

    mutating func rollBack(_ generation: Generation) {
        require(prepared.removeValue(forKey: generation) != nil, "generation \(generation) given up unprepared")
    }

    private mutating func require(_ holds: Bool, _ rule: String) {
        if !holds { violations.append(rule) }
    }
}
