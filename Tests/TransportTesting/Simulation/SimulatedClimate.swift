/// How hard life is in one simulated world: chances in percent, drawn once per seed.
struct SimulatedClimate {
    // Per moment and operation, or per moment and socket.
    var progress = 100
    var arrival = 100
    var drain = 100
    var finish = 100
    var reset = 0
    // Per receive.
    var receiveShort = 0
    var receiveEnds = 0
    var receiveInterrupted = 0
    var receiveStarved = 0
    var retireEarly = 0
    // Per send.
    var sendShort = 0
    var sendInterrupted = 0
    var sendRefused = 0
    var zeroCopyRefused = 0
    var notificationLate = 0
    // Per cancellation, poll, accept and connect.
    var cancelMissed = 0
    var cancelledLater = 0
    var cancelledWithResult = 30
    var pollRepeats = 0
    var pollEnds = 0
    var acceptFails = 0
    var connectFails = 0
    // Per moment or call.
    var arrivals = 0
    var submitPart = 0
    var batchPart = 0
    var stale = 0
    var spuriousWake = 5
    var clockJump = 0
    var foreignTask = 0
    /// That a service does something when it is told something.
    var reaction = 0
    // Bounds.
    var arrivalMax = 4096
    /// Completions of one receive or accept per moment.
    var burst = 4
    var receiveShortMax = 64
    /// Bytes that a peer may send in any case, be it one by one.
    var floodMax = 100

    /// Nothing goes wrong, and every peer does what it is expected to.
    static let calm = SimulatedClimate()

    static func random(_ dice: Dice) -> SimulatedClimate {
        var climate = SimulatedClimate()
        let chances: [(WritableKeyPath<SimulatedClimate, Int>, [Int])] = [
            (\.progress, [15, 50, 90]), (\.arrival, [10, 50, 90]), (\.drain, [5, 40, 90]), (\.finish, [2, 10, 40]),
            (\.reset, [0, 0, 1]), (\.receiveShort, [0, 20, 70]), (\.receiveEnds, [0, 10, 50]),
            (\.receiveInterrupted, [0, 0, 10]), (\.receiveStarved, [0, 0, 10, 40]), (\.retireEarly, [0, 20]),
            (\.sendShort, [0, 20, 80]), (\.sendInterrupted, [0, 0, 15]), (\.sendRefused, [0, 0, 0, 2]),
            (\.zeroCopyRefused, [0, 0, 10]), (\.notificationLate, [0, 70, 97]), (\.cancelMissed, [0, 20, 60]),
            (\.cancelledLater, [0, 50]), (\.cancelledWithResult, [0, 30, 80]), (\.pollRepeats, [0, 10]),
            (\.pollEnds, [0, 30]), (\.acceptFails, [0, 10]), (\.connectFails, [0, 20]), (\.arrivals, [2, 10, 30]),
            (\.submitPart, [0, 0, 20]), (\.batchPart, [0, 0, 20]), (\.stale, [0, 5]), (\.spuriousWake, [0, 30]),
            (\.clockJump, [0, 2]), (\.foreignTask, [0, 5, 30]), (\.reaction, [5, 20, 50]),
            (\.arrivalMax, [1, 100, 4096]), (\.burst, [1, 4, 16]), (\.receiveShortMax, [1, 16, 1000]),
        ]
        for (key, values) in chances { climate[keyPath: key] = dice.one(of: values) }
        return climate
    }

    /// Bytes come one by one, thousands of them in a moment.
    mutating func flood() {
        receiveShort = 100
        receiveShortMax = 1
        burst = 3000
        floodMax = 4000
        receiveEnds = 0
        receiveStarved = 0
        retireEarly = 0
        arrivalMax = 6000
        arrival = 100
        progress = 100
        batchPart = 0
    }
}
