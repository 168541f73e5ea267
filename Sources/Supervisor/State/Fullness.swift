import Transport

/// What keeps the supervisor from accepting one connection more.
public enum FullLimit: String, Sendable, Codable {
    /// ``SupervisorConfiguration/connectionsMax``.
    case connectionsMax = "max-connections"
    /// The workers' descriptors: each that takes connections has as many as it can.
    case openFiles = "open-files"
}

/// That clients have to wait for a place: what the log has been told of it. None of it is kept while there is room.
///
/// At the limit places become free and are taken all the time: it is one warning until there has been room for a while.
enum Fullness: Equatable, Sendable, Codable {
    /// There is no room.
    case full(FullLimit)
    /// There has been room since then.
    case easing(since: MonotonicTime)

    /// How long there must have been room before it is told, and a further warning can follow.
    static let easingTime: Duration = .seconds(10)
}

extension SupervisorState {
    /// The limit at which clients wait in the kernel's queue; nil when a place is free, or none is for another reason,
    /// such as workers that start, or drain on their own.
    var fullLimit: FullLimit? {
        guard case .running = phase, intake == .paused else { return nil }
        if load >= configuration.connectionsMax { return .connectionsMax }
        let hasChance = slots.contains { $0.takesTraffic && !$0.isFull }
        return !hasChance && slots.contains(where: \.takesTraffic) ? .openFiles : nil
    }

    /// Tells when it has become full, and when that is over. No timer is needed for the latter: a worker's page is looked
    /// at every half second at least.
    mutating func tellFullness(_ now: MonotonicTime, _ actions: inout [Action]) {
        guard case .running = phase else { return }
        switch (fullness, fullLimit) {
        case (nil, let limit?):
            fullness = .full(limit)
            actions.append(.report(.full(limit, connections: load)))
        case (_?, let limit?): fullness = .full(limit)
        case (.full?, nil): fullness = .easing(since: now)
        case (.easing(let since)?, nil) where now - since >= Fullness.easingTime:
            fullness = nil
            actions.append(.report(.roomAgain))
        case (.easing?, nil), (nil, nil): break
        }
    }
}
