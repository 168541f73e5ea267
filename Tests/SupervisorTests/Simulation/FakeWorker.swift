import Handoff
import Supervisor
import Transport

/// A worker process as the simulation plays it: what it really has, and what its page says.
struct FakeWorker {
    enum Stage: Equatable {
        /// Ready then, or never.
        case booting(until: MonotonicTime?)
        case serving
        case draining(until: MonotonicTime)
        /// The process is dead, or will be: the supervisor hears of it then.
        case leaving(at: MonotonicTime, ExitStatus)
    }

    let id: WorkerID
    let generation: Generation
    let migrates: Bool
    var stage: Stage
    /// Connections it admits at a time.
    var limit: Int
    /// Sockets that lie in its hand-off socket, in order.
    var inbox: [Int] = []
    /// Numbers sent to it, and the next one not adopted.
    var sent: SequenceNumber = 0
    var adopted: SequenceNumber = 0
    /// Rejections that the supervisor has not read.
    var rejected: [Range<SequenceNumber>] = []
    var live: [(socket: Int, until: MonotonicTime)] = []
    /// Sockets adopted ever: what `live` may be at most, to a supervisor that checks.
    var adoptions = 0
    /// What the supervisor read last.
    var read = PageReading(adopted: 0, live: 0, credit: 0, heartbeat: MonotonicTime(nanoseconds: 0))
    var isDeaf = false
    var isLiar = false
    /// Since when its loop stands still.
    var frozenAt: MonotonicTime?
    /// Whether it was told to drain or stop, and how many connections it may offer.
    var wasTold = false
    var mayOffer = false
    /// Frozen connections on their way to the supervisor, and the number of the next.
    var outbox: [(number: UInt32, socket: Int)] = []
    var offerNext: UInt32 = 0
    var released: SequenceNumber = 0

    var isLeaving: Bool {
        if case .leaving = stage { return true }
        return false
    }

    /// In flight, as the supervisor must see it.
    var inflight: Int { Int(sent - read.adopted) }

    /// When it does something by itself.
    var nextEvent: MonotonicTime {
        var own = MonotonicTime.distantFuture
        switch stage {
        case .booting(let until): own = until ?? .distantFuture
        case .serving: break
        case .draining(let until): own = until
        case .leaving(let at, _): return at
        }
        if frozenAt != nil { return .distantFuture }
        return live.reduce(own) { min($0, $1.until) }
    }

    /// What the page says now. Rejections are told once.
    mutating func takeReading(now: MonotonicTime) -> PageReading {
        defer { rejected = [] }
        let isServing = stage == .serving
        return PageReading(
            adopted: adopted, rejected: rejected, live: UInt32(live.count),
            credit: isServing ? UInt32(max(0, limit - live.count)) : 0, heartbeat: frozenAt ?? now)
    }

    /// A reading that no honest worker gives.
    func lie(now: MonotonicTime, _ number: UInt64) -> PageReading {
        let lies = [
            PageReading(adopted: sent + 1 + number % 9, live: 0, credit: 9, heartbeat: now),
            PageReading(
                adopted: adopted, rejected: [adopted..<adopted + 1 + number % 3], live: 0, credit: 9, heartbeat: now),
            PageReading(adopted: .max, rejected: [0..<(.max)], live: .max, credit: .max, heartbeat: now),
        ]
        return lies[Int(number % UInt64(lies.count))]
    }

    mutating func adoptFirst(now: MonotonicTime, until: MonotonicTime) -> Int {
        let socket = inbox.removeFirst()
        adopted += 1
        adoptions += 1
        live.append((socket, until))
        return socket
    }

    mutating func rejectFirst(_ count: Int) -> [Int] {
        let sockets = Array(inbox.prefix(count))
        inbox.removeFirst(count)
        rejected.append(adopted..<adopted + SequenceNumber(count))
        adopted += SequenceNumber(count)
        return sockets
    }
}
