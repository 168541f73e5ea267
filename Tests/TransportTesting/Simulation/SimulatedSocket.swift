import Glibc

@testable import Transport

/// A simulated stream socket: what its peer has sent and taken, and what is left of it.
final class SimulatedSocket {
    let descriptors: SimulatedDescriptors
    let incoming: SimulatedStream
    let outgoing: SimulatedStream
    /// Bytes that the peer sends in its life.
    let total: UInt64
    /// Bytes that wait between the two ends at most.
    private var window: UInt64
    /// Bytes of the peer's that have arrived, and those of them that receives have taken.
    private(set) var arrived: UInt64 = 0
    var taken: UInt64 = 0
    /// Bytes that the service has written, those that sends have taken, and those of them that the peer has read.
    var written: UInt64 = 0
    private(set) var sent: UInt64 = 0
    private var drained: UInt64 = 0
    private(set) var isInputFinished = false
    private(set) var isOutputFinished = false
    private(set) var isReset = false
    /// Told to the first who asks, and then gone.
    private var failure: Int32?
    /// A send failed although the peer was well.
    var isSendRefused = false
    /// The channel has closed its end.
    var isClosed = false

    /// - Parameter totalMax: bytes that the peer may send.
    init(_ descriptors: SimulatedDescriptors, totalMax: Int, _ dice: Dice) {
        self.descriptors = descriptors
        incoming = SimulatedStream(dice)
        outgoing = SimulatedStream(dice)
        total = UInt64(dice.below(dice.one(of: [1, 200, totalMax])))
        window = UInt64(dice.upTo(dice.one(of: [1, 500, 50_000])))
    }

    /// The peer does not hold anybody up any more.
    func calm() { window = .max / 2 }

    var fd: Int32 { descriptors.near.fd }
    var unread: Int { Int(arrived - taken) }
    var room: Int { Int(window - (sent - drained)) }
    /// A receive would meet the end now.
    var isAtEnd: Bool { unread == 0 && (isInputFinished || isReset) }

    /// A moment in the peer's life.
    func live(_ climate: SimulatedClimate, _ dice: Dice, _ log: SimulationLog) {
        guard !isClosed, !isReset else { return }
        observe(log)
        if arrived < total {
            if dice.chance(climate.arrival) {
                arrived += UInt64(dice.upTo(min(Int(total - arrived), climate.arrivalMax)))
            }
        } else if dice.chance(climate.finish) {
            isInputFinished = true
        }
        if sent > drained, dice.chance(climate.drain) { drained += UInt64(dice.upTo(Int(sent - drained))) }
        if dice.chance(climate.reset) { reset(dice) }
    }

    /// Notes a FIN as soon as it has been sent: everything written goes before it.
    private func observe(_ log: SimulationLog) {
        guard !isOutputFinished, descriptors.isShutDown else { return }
        isOutputFinished = true
        log.require(sent == written, "FIN sent behind \(sent) of \(written) bytes")
    }

    private func reset(_ dice: Dice) {
        isReset = true
        failure = dice.chance(80) ? ECONNRESET : ETIMEDOUT
        descriptors.reset()
    }

    func takeFailure() -> Int32? {
        defer { failure = nil }
        return failure
    }

    /// The kernel takes `count` bytes of a send, which must be the next ones written.
    func take(_ count: Int, of pieces: [UnsafeRawBufferPointer], _ log: SimulationLog) {
        var left = count
        for piece in pieces where left > 0 {
            let part = UnsafeRawBufferPointer(rebasing: piece.prefix(left))
            log.require(
                outgoing.matches(part, from: sent), "a send has other bytes than were written, from \(sent) on")
            sent += UInt64(part.count)
            left -= part.count
        }
        log.require(left == 0, "a send takes more bytes than it has")
        log.require(sent <= written, "\(sent) bytes sent, \(written) written")
        log.require(!isOutputFinished, "bytes sent behind FIN")
    }
}
