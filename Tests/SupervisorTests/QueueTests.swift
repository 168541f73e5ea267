import Testing
import Transport

@testable import Supervisor

private func held(_ order: UInt64) -> HeldSocket {
    let now = MonotonicTime(nanoseconds: 0)
    return HeldSocket(
        socket: AcceptedSocket(id: SocketID(Int32(order)), listener: 0, sourceHash: 0, acceptedAt: now), order: order)
}

@Suite struct QueueTests {
    @Test("sockets put back come where their age belongs, whatever the order they come in")
    func putBack() {
        var queue = PendingQueue()
        for order in [2, 5, 9] as [UInt64] { queue.append(held(order)) }
        _ = queue.removeFirst()
        queue.putBack([held(7), held(1), held(10)])
        #expect(queue.all.map(\.order) == [1, 5, 7, 9, 10])
        #expect(queue.count == 5 && queue.first?.order == 1)
    }

    @Test("a long queue keeps its order while it is worked off and refilled")
    func longQueue() {
        var queue = PendingQueue()
        var (nextIn, nextOut) = (UInt64(0), UInt64(0))
        for _ in 0..<3 {
            for _ in 0..<3_000 {
                queue.append(held(nextIn))
                nextIn += 1
            }
            for _ in 0..<2_500 {
                #expect(queue.removeFirst().order == nextOut)
                nextOut += 1
            }
        }
        #expect(queue.count == 1_500 && queue.removeAll().map(\.order) == Array(7_500..<9_000))
        #expect(queue.isEmpty)
    }

    @Test("adoption takes from the front, rejection from the middle, and numbers run on")
    func settle() throws {
        var queue = InflightQueue()
        for order in UInt64(0)..<6 { queue.append(held(order)) }
        #expect(queue.nextBatch(max: 4)?.sockets.count == 4)
        #expect(queue.nextBatch(max: 4)?.first == 4)
        let reading = queue.settle(adopted: 5, rejected: [1..<2, 3..<5])
        let settled = try #require(reading)
        #expect(settled.adopted.map(\.rawValue) == [0, 2] && settled.rejected.map(\.order) == [1, 3, 4])
        #expect(queue.first == 5 && queue.next == 6 && queue.count == 1)
    }

    @Test("an impossible reading changes nothing")
    func settleRefuses() {
        var queue = InflightQueue()
        for order in UInt64(0)..<3 { queue.append(held(order)) }
        _ = queue.nextBatch(max: 3)
        #expect(queue.settle(adopted: 4, rejected: []) == nil)
        #expect(queue.settle(adopted: 2, rejected: [1..<3]) == nil)
        #expect(queue.settle(adopted: 3, rejected: [1..<2, 0..<1]) == nil)
        #expect(queue.first == 0 && queue.count == 3)
    }

    @Test("numbers that did not go out are used again; numbers that did are not")
    func numbers() {
        var queue = InflightQueue()
        for order in UInt64(0)..<4 { queue.append(held(order)) }
        _ = queue.nextBatch(max: 4)
        #expect(queue.takeBack(from: 1).map(\.order) == [1, 2, 3])
        #expect(queue.next == 1)
        #expect(queue.removeAll().count == 1 && queue.next == 1 && queue.first == 1)
        #expect(queue.takeBack(from: 1).isEmpty)
    }
}

@Suite struct RestartIntensityTests {
    private func at(_ seconds: UInt64) -> MonotonicTime { MonotonicTime(nanoseconds: seconds * 1_000_000_000) }

    @Test("the window slides: restarts spread out never make the pool degraded")
    func slides() {
        var intensity = RestartIntensity(max: 3, window: .seconds(60), spacing: .seconds(30))
        for step in UInt64(1)...50 {
            let isAdmitted = intensity.admit(now: at(step * 20), booting: 1, serving: 1)
            #expect(isAdmitted && intensity.mode == .normal)
        }
    }

    @Test("degraded with nobody serving, a restart waits for no distance, but for others to boot")
    func nobodyServes() {
        var intensity = RestartIntensity(max: 1, window: .seconds(60), spacing: .seconds(30))
        let first = intensity.admit(now: at(1), booting: 0, serving: 1)
        let spaced = intensity.admit(now: at(2), booting: 0, serving: 1)
        let besideAnother = intensity.admit(now: at(3), booting: 1, serving: 0)
        let alone = intensity.admit(now: at(3), booting: 0, serving: 0)
        #expect(first && !spaced && intensity.mode == .degraded)
        #expect(!besideAnother && alone)
    }

    @Test("degraded, a restart keeps its distance and waits for others to boot, until recovery")
    func spacing() {
        var intensity = RestartIntensity(max: 2, window: .seconds(60), spacing: .seconds(30))
        #expect(
            intensity.admit(now: at(1), booting: 0, serving: 1) && intensity.admit(now: at(2), booting: 1, serving: 1))
        #expect(!intensity.admit(now: at(3), booting: 0, serving: 1) && intensity.mode == .degraded)
        #expect(intensity.earliest == at(32))
        #expect(
            !intensity.admit(now: at(31), booting: 0, serving: 1)
                && !intensity.admit(now: at(40), booting: 1, serving: 1))
        #expect(intensity.admit(now: at(40), booting: 0, serving: 1) && intensity.mode == .degraded)
        intensity.recover()
        #expect(intensity.admit(now: at(70), booting: 3, serving: 1) && intensity.mode == .normal)
        let isAdmitted = intensity.admit(now: at(71), booting: 0, serving: 1)
        #expect(!isAdmitted, "what the window holds still counts")
    }
}
