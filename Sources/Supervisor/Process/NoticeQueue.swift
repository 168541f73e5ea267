import Handoff
import Transport

/// What a worker must be told, in order, as soon as its hand-off socket has room.
struct NoticeQueue: Codable {
    /// Orders and answers that no later one makes good for.
    enum Notice: Hashable, Codable {
        case drain(cutAt: MonotonicTime, migrationsPerSecond: UInt32)
        case stop
        case offerRefused(number: UInt32)

        fileprivate func packet(now: MonotonicTime) -> Packet {
            switch self {
            case .drain(let cutAt, let rate):
                .drain(
                    milliseconds: UInt32(clamping: (cutAt - now).wholeNanoseconds / 1_000_000),
                    migrationsPerSecond: rate)
            case .stop: .stop
            case .offerRefused(let number): .offerRefused(number: number)
            }
        }
    }

    /// How soon it is tried again.
    static let interval: Duration = .milliseconds(10)
    /// As many offers as a worker leaves unanswered, and a few orders. A worker with more of them is not honest.
    static let countMax = 128

    private var notices: [Notice] = []

    var isEmpty: Bool { notices.isEmpty }

    /// Returns whether there was room.
    mutating func append(_ notice: Notice) -> Bool {
        guard notices.count < Self.countMax else { return false }
        notices.append(notice)
        return true
    }

    /// Tells what can be told now.
    mutating func flush(now: MonotonicTime, send: (Packet) -> SendResult) {
        while let notice = notices.first {
            switch send(notice.packet(now: now)) {
            case .sent: notices.removeFirst()
            case .peerGone: notices.removeAll()
            case .full, .tooManyInFlight, .failed: return
            }
        }
    }
}
