import Glibc
import Testing

@testable import Transport

/// A way for the transport to reach the kernel. Every behaviour is shown in each, since nothing above the handlers may
/// be able to tell them apart.
enum TransportMode: String, CaseIterable, Codable, Sendable {
    case uring, incremental, epoll

    /// The defaults of a loop in this mode.
    var configuration: EventLoopConfiguration {
        var configuration = EventLoopConfiguration()
        switch self {
        case .uring: break
        case .incremental: configuration.receiveBuffers.isIncremental = true
        case .epoll: configuration.transport = .epoll
        }
        return configuration
    }

    /// Whether operations go through a ring, with a completion queue of its own.
    var hasRing: Bool { self != .epoll }

    /// Why this process cannot have it; nil when it can.
    var obstacle: String? {
        if hasRing, let obstacle = Self.ringObstacle { return obstacle }
        if self == .incremental, !UringIncremental.isSupported { return "no reliable incremental buffer rings" }
        return nil
    }

    /// The modes that can be had here. `ModeTests` tells why others cannot.
    static let available = allCases.filter { $0.obstacle == nil }

    /// What tests use that are about something else: the ring, or epoll where there can be none.
    static var usual: TransportMode { available[0] }

    /// Rings that the tests which run at the same time may have between them, with those of tests just past: the kernel
    /// gives their locked memory back a little later.
    private static let ringsMax = 32

    private static let ringObstacle: String? = {
        if case .unavailable(let cause) = UringAvailability.probe() { return "\(cause)" }
        if !UringAvailability.fits(rings: ringsMax, of: .init()) {
            return "RLIMIT_MEMLOCK does not allow \(ringsMax) rings"
        }
        return nil
    }()
}

extension Trait where Self == ConditionTrait {
    /// For tests of the ring itself.
    static var needsRing: Self {
        .enabled(if: TransportMode.uring.obstacle == nil, "\(TransportMode.uring.obstacle ?? "")")
    }

    /// For tests whose child processes become another user.
    static var needsRoot: Self { .enabled(if: geteuid() == 0, "only root can become another user") }

    /// For tests that want more of it than the rings of all the others.
    static func needsLockedMemory(bytes: Int) -> Self {
        .enabled(if: LockedMemory.allows(bytes: bytes), "RLIMIT_MEMLOCK does not allow \(bytes) bytes")
    }
}

/// Every combination, for tests with two arguments.
func across<A, B>(_ a: [A], _ b: [B]) -> [(A, B)] {
    a.flatMap { a in b.map { (a, $0) } }
}

/// Every combination, for tests with three arguments.
func across<A, B, C>(_ a: [A], _ b: [B], _ c: [C]) -> [(A, B, C)] {
    a.flatMap { a in b.flatMap { b in c.map { (a, b, $0) } } }
}

/// Every combination, for tests with four arguments.
func across<A, B, C, D>(_ a: [A], _ b: [B], _ c: [C], _ d: [D]) -> [(A, B, C, D)] {
    across(a, b, c).flatMap { a, b, c in d.map { (a, b, c, $0) } }
}
