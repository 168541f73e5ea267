import Handoff

/// Reads what a worker has sent.
enum WorkerMail {
    /// Packets that are taken at a time, so that no worker can keep the supervisor from the others.
    static let packetsPerTurnMax = 16

    /// A connection that the worker gives up. The descriptors are the taker's.
    struct Offer {
        let number: UInt32
        let connection: MigratedConnection
        let descriptors: [Int32]
        let isTruncated: Bool
    }

    /// Who takes it.
    struct Taker {
        /// Takes a packet with its descriptors; returns whether it made sense.
        let packet: (Packet, [Int32]) -> Bool
        /// Takes what was offered in one turn, at its end: what the worker said after its offers is known by then.
        let offers: ([Offer]) -> Void
        /// Hears of something that is no packet.
        let malformed: (PacketError) -> Void
    }

    /// Takes a few packets. A living worker is not read on once it has sent nonsense. A reaped one is: what it offered may
    /// be the last copy of a connection, whatever lies before it.
    ///
    /// - Returns: whether there may be more.
    static func take(from control: HandoffSocket, isReaped: Bool, _ taker: Taker) -> Bool {
        var offers: [Offer] = []
        defer { if !offers.isEmpty { taker.offers(offers) } }
        for _ in 0..<packetsPerTurnMax {
            switch control.receive() {
            case .packet(.offer(let number, let connection), let descriptors, let isTruncated):
                offers.append(
                    Offer(
                        number: number, connection: connection, descriptors: descriptors, isTruncated: isTruncated))
            case .packet(let packet, let descriptors, _):
                guard taker.packet(packet, descriptors) || isReaped else { return false }
            case .malformed(let error):
                taker.malformed(error)
                guard isReaped else { return false }
            case .empty, .endOfFile, .failed:
                return false
            }
        }
        return true
    }
}
