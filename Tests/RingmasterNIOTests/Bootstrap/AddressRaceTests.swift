import NIOCore
import Testing

@testable import RingmasterNIO
@testable import Transport
@testable import TransportTesting

private let localhostHasTwoAddresses = ((try? HostLookup.addresses(of: "localhost", port: 1))?.count ?? 0) >= 2

/// The addresses of a name, raced with attempts that the tests decide about.
@Suite("Races between addresses of a name", .enabled(if: localhostHasTwoAddresses, "localhost has one address"))
struct AddressRaceTests {
    private struct Refused: Error {}

    private struct Race {
        let result: EventLoopFuture<Int>
        /// The attempts made so far, which the test ends.
        let attempts: Recorder<EventLoopPromise<Int>>
        let discarded: Recorder<Int>
        /// Numbers of the attempts that were to end.
        let givenUp: Recorder<Int>

        func attempt(_ number: Int) async throws -> EventLoopPromise<Int> {
            try await soon("attempt \(number)") { attempts.all.count > number }
            return attempts.all[number]
        }
    }

    private static func withRace(
        _ transport: TransportKind, timeout: TimeAmount = .seconds(20), _ body: (Race) async throws -> Void
    ) async throws {
        try await withRingGroup(transport) { group async throws in
            let attempts = Recorder<EventLoopPromise<Int>>()
            let discarded = Recorder<Int>()
            let givenUp = Recorder<Int>()
            let loop = group.loops[0]
            let result = AddressRace<Int>.run("localhost", 1, on: loop, timeout: timeout) { _ in
                let promise = loop.makePromise(of: Int.self)
                let number = attempts.all.count
                attempts.record(promise)
                return .init(result: promise.futureResult) { givenUp.record(number) }
            } discard: {
                discarded.record($0)
            }
            try await body(Race(result: result, attempts: attempts, discarded: discarded, givenUp: givenUp))
        }
    }

    @Test(
        "The second begins though the first goes on, and wins; the first is given up, and what it brings is discarded",
        arguments: streamTransports)
    func secondWins(transport: TransportKind) async throws {
        try await Self.withRace(transport) { race async throws in
            try await race.attempt(1).succeed(2)
            #expect(try await outcome(race.result).get() == 2)
            #expect(race.givenUp.all == [0])
            try await race.attempt(0).succeed(1)
            try await soon("the late one") { race.discarded.all == [1] }
        }
    }

    @Test("The second begins when the first has failed", arguments: streamTransports)
    func firstFails(transport: TransportKind) async throws {
        try await Self.withRace(transport) { race async throws in
            try await race.attempt(0).fail(Refused())
            try await race.attempt(1).succeed(2)
            #expect(try await outcome(race.result).get() == 2)
            #expect(race.discarded.all.isEmpty)
        }
    }

    @Test("The first may still win when the second has begun", arguments: streamTransports)
    func firstWins(transport: TransportKind) async throws {
        try await Self.withRace(transport) { race async throws in
            try await race.attempt(1).fail(Refused())
            try await race.attempt(0).succeed(1)
            #expect(try await outcome(race.result).get() == 1)
            #expect(race.discarded.all.isEmpty && race.givenUp.all.isEmpty)
        }
    }

    @Test("When all have failed the last error is told", arguments: streamTransports)
    func allFail(transport: TransportKind) async throws {
        try await Self.withRace(transport) { race async throws in
            let count = try HostLookup.addresses(of: "localhost", port: 1).count
            for number in 0..<count { try await race.attempt(number).fail(Refused()) }
            #expect(try await failure(race.result) is Refused)
        }
    }

    @Test(
        "When nobody has won in time it fails, the attempts are given up, and what comes later is discarded",
        arguments: streamTransports)
    func timeout(transport: TransportKind) async throws {
        try await Self.withRace(transport, timeout: .milliseconds(50)) { race async throws in
            let first = try await race.attempt(0)
            #expect(try await failure(race.result) as? ChannelError == .connectTimeout(.milliseconds(50)))
            #expect(race.givenUp.all.first == 0)
            first.succeed(1)
            try await soon("the late one") { race.discarded.all == [1] }
        }
    }

    @Test(
        "A look-up that hangs ends with the time or with the loop, and what it brings later is not connected to",
        arguments: across(streamTransports, [true, false]))
    func hangingLookUp(transport: TransportKind, endsInTime: Bool) async throws {
        let (answer, told, gone) = (Recorder<Void>(), Journal(), Counter())
        try await withRingGroup(transport) { group async throws in
            let loop = group.loops[0]
            let timeout = TimeAmount.milliseconds(endsInTime ? 50 : 60_000)
            // Held by the race, and by nobody else.
            let tracer = Shared(Tracer(gone))
            let result = AddressRace<Int>.run(
                "name.invalid", 1, on: loop, timeout: timeout,
                lookUp: { _, _ throws(HostLookupError) in
                    try? answer.next(within: 60)
                    return [.anyLoopback]
                },
                attempt: { [tracer] _ in
                    Issue.record("an attempt after the end: \(tracer)")
                    return .init(result: loop.makeFailedFuture(Refused())) {}
                },
                discard: { _ in })
            result.whenFailure { told.note("\($0)") }
            guard endsInTime else { return }
            #expect(try await failure(result) as? ChannelError == .connectTimeout(timeout))
            answer.record(())
            try await loop.submit {}.get()
        }
        if !endsInTime {
            #expect(told.events == ["\(EventLoopError.shutdown)"])
            answer.record(())
        }
        try await soon("the end of the race") { gone.value == 1 }
    }

    @Test(
        "An initializer that takes its time delays no other address, and its channel is closed when another has won",
        arguments: streamTransports)
    func delayedInitializer(transport: TransportKind) async throws {
        let plain = try PlainListener()
        try await withRingGroup(transport) { group async throws in
            let journal = Journal()
            let slow = group.loops[0].makePromise(of: Void.self)
            let channels = Recorder<any NIOCore.Channel>()
            let connected = RingClientBootstrap(group: group).channelInitializer { channel in
                let number = channels.all.count
                channels.record(channel)
                channel.closeFuture.whenComplete { _ in journal.note("closed \(number)") }
                return number == 0 ? slow.futureResult : channel.eventLoop.makeSucceededVoidFuture()
            }.connect(host: "localhost", port: plain.address.port!)
            let winner = try await outcome(connected).get()
            #expect(winner.remoteAddress == plain.address)
            try await journal.wait(for: "closed 0")
            slow.succeed(())
            for _ in 0..<3 { try await group.loops[0].submit {}.get() }
            #expect(winner.isActive && winner !== channels.all[0])
            #expect(journal.events == ["closed 0"] && channels.all.count == 2)
        }
    }

    @Test("The end of the loop ends the race", arguments: streamTransports)
    func loopEnds(transport: TransportKind) async throws {
        let told = Journal()
        try await Self.withRace(transport) { race async throws in
            let attempts = [try await race.attempt(0), try await race.attempt(1)]
            race.result.whenFailure { error in
                told.note("\(error)")
                for attempt in attempts { attempt.fail(error) }
            }
        }
        #expect(told.events == ["\(EventLoopError.shutdown)"])
    }
}
