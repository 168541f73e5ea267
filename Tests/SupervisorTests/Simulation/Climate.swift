import Supervisor

/// How hard life is in one simulated world: chances in percent, drawn once per seed.
struct Climate {
    /// That a worker never boots, or exits while booting.
    var bootHangs = 0
    var bootFails = 0
    /// That such an exit is with code 2.
    var badUsage = 0
    /// Per turn and worker: that it dies, or says FAILED.
    var death = 0
    /// Per turn and worker: that it does nothing, that it freezes, that it goes on, that it rejects, that it changes its limit,
    /// that its page lies.
    var idle = 0
    var freeze = 0
    var thaw = 0
    var rejection = 0
    var filling = 0
    var lie = 0
    /// Per packet: that sending is refused.
    var refusal = 0
    /// That a worker takes no notice of drain and stop, and that SIGKILL takes long.
    var deafness = 0
    var undead = 0
    /// That a worker's binary is too old to migrate; that an offer, or the answer to one, waits another turn.
    var old = 0
    var late = 0
    /// Per turn: that somebody commands something, and that the machine is suspended.
    var command = 0
    var suspension = 0
    /// Per connection: that it stays for seconds instead of milliseconds.
    var staying = 5
    /// Per turn: that sockets come, and that somebody stops the supervisor.
    var arrival = 50
    var stop = 0

    static let healthy = Climate(arrival: 0)

    /// Workers boot well and die soon.
    static let crashLoop = Climate(bootFails: 5, death: 6, command: 1, arrival: 10)

    /// Workers take hardly anything while one configuration follows another.
    static let jam = Climate(death: 1, idle: 97, command: 6, arrival: 90)

    static func random(using random: inout some RandomNumberGenerator) -> Climate {
        var climate = Climate()
        let chances: [(WritableKeyPath<Climate, Int>, [Int])] = [
            (\.bootHangs, [0, 0, 10]), (\.bootFails, [0, 0, 10, 60]), (\.badUsage, [0, 0, 20]),
            (\.death, [0, 1, 8]), (\.idle, [0, 30, 80]), (\.freeze, [0, 0, 0, 3]), (\.thaw, [0, 3]),
            (\.rejection, [0, 0, 5, 30]),
            (\.filling, [0, 10]),
            (\.lie, [0, 0, 0, 2]), (\.refusal, [0, 0, 5, 30]), (\.deafness, [0, 30]), (\.old, [0, 0, 30]),
            (\.late, [0, 50]), (\.command, [0, 3, 8]), (\.suspension, [0, 0, 2]), (\.undead, [0, 0, 20]),
            (\.arrival, [10, 50, 90]), (\.stop, [0, 1, 3]), (\.staying, [5, 5, 5, 90]),
        ]
        for (key, values) in chances {
            climate[keyPath: key] = values.randomElement(using: &random) ?? 0
        }
        return climate
    }
}

extension SupervisorConfiguration {
    /// A small pool with tight limits, so that the limits are met.
    static func random(seed: UInt64, using random: inout some RandomNumberGenerator) -> SupervisorConfiguration {
        let graces: [Duration] = [.zero, .milliseconds(300), .seconds(2), .seconds(9), .seconds(20)]
        var configuration = SupervisorConfiguration(
            workerCount: .random(in: 1...4, using: &random),
            balance: [.leastLoaded, .roundRobin, .sourceHash].randomElement(using: &random) ?? .leastLoaded,
            connectionsMax: .random(in: 1...60, using: &random),
            grace: graces.randomElement(using: &random) ?? .zero, seed: seed)
        configuration.inflightPerWorkerMax = [1, 5, 64].randomElement(using: &random) ?? 64
        configuration.batchMax = [1, 3, 16].randomElement(using: &random) ?? 16
        configuration.deliveriesMax = [2, 10, 64].randomElement(using: &random) ?? 64
        // Short ones: while something is awaited the supervisor looks every 16 ms, and each look is a turn.
        configuration.bootTimeout = [.seconds(1), .seconds(3)].randomElement(using: &random) ?? .seconds(1)
        configuration.hangTimeout = [nil, .milliseconds(1_500), .seconds(3)].randomElement(using: &random) ?? nil
        configuration.migrationsPerSecond = [0, 50, 2_000].randomElement(using: &random) ?? 0
        configuration.recycle = RecyclePolicy(
            ageMax: [nil, nil, .seconds(20)].randomElement(using: &random) ?? nil,
            connectionsMax: [nil, nil, 30].randomElement(using: &random) ?? nil,
            memoryMax: [nil, nil, 90].randomElement(using: &random) ?? nil)
        configuration.recycle.lifetimeMin = [.zero, .seconds(10)].randomElement(using: &random) ?? .zero
        return configuration
    }
}
