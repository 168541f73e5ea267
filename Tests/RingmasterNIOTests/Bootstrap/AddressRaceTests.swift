import Glibc
import NIOCore
import Testing

@testable import RingmasterNIO
@testable import Transport
@testable import TransportTesting

/// Loopback, ::1 first.
let bothLoopbacks: LookUp = { _, port in
    ["::1", "127.0.0.1"].compactMap { try? NIOCore.SocketAddress(ipAddress: $0, port: Int(port)) }.map(CoreAddress.init)
}

/// The addresses of a name, raced with attempts that the tests decide about.
@Suite("Races between addresses of a name")
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
            let result = AddressRace<Int>.run("two.invalid", 1, on: loop, timeout: timeout, lookUp: bothLoopbacks) {
                _ in
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
            for number in 0..<2 { try await race.attempt(number).fail(Refused()) }
            #expect(try await failure(race.result) is Refused)
        }
    }

    @Test(
        "When nobody has won in time it fails, the attempts are given up, and what comes later is discarded",
        arguments: streamTransports)
    func timeout(transport: TransportKind) async throws {
        // On a busy machine the time may be over before the first attempt.
        for milliseconds in [50, 500, 5000] as [Int64] {
            var hasBegun = false
            try await Self.withRace(transport, timeout: .milliseconds(milliseconds)) { race async throws in
                #expect(try await failure(race.result) as? ChannelError == .connectTimeout(.milliseconds(milliseconds)))
                guard let first = race.attempts.all.first else { return }
                hasBegun = true
                #expect(race.givenUp.all.contains(0))
                first.succeed(1)
                try await soon("the late one") { race.discarded.all == [1] }
            }
            if hasBegun { return }
        }
        Issue.record("no attempt began in time")
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

    @Test("Look-ups that hang hold up neither another one nor asynchronous code", arguments: streamTransports)
    func manyHangingLookUps(transport: TransportKind) async throws {
        let plain = try PlainListener()
        // The global queues get a thread more each second while theirs are blocked: more than the test waits for.
        let count = System.coreCount + 30
        let answer = Recorder<Void>()
        let begun = Recorder<Void>()
        try await withRingGroup(transport) { group async throws in
            let results = (0..<count).map { _ in
                AddressRace<Int>.run(
                    "hangs.invalid", 1, on: group.loops[0], timeout: .seconds(60),
                    lookUp: { _, _ throws(HostLookupError) in
                        begun.record(())
                        try? answer.next(within: 60)
                        throw .failed(host: "hangs.invalid", code: EAI_AGAIN, text: "")
                    },
                    attempt: { _ in .init(result: group.loops[0].makeFailedFuture(Refused())) {} },
                    discard: { _ in })
            }
            defer { for _ in 0..<count { answer.record(()) } }
            try await soon("all look-ups at once") { begun.all.count == count }
            let channel = try await outcome(
                RingClientBootstrap(group: group).connect(host: "localhost", port: plain.address.port!)
            ).get()
            #expect(channel.isActive)
            for _ in 0..<count { answer.record(()) }
            for result in results { #expect(try await failure(result) is HostLookupError) }
        }
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
            let bootstrap = RingClientBootstrap(group: group)
            bootstrap.lookUp = bothLoopbacks
            let connected = bootstrap.channelInitializer { channel in
                let number = channels.all.count
                channels.record(channel)
                channel.closeFuture.whenComplete { _ in journal.note("closed \(number)") }
                return number == 0 ? slow.futureResult : channel.eventLoop.makeSucceededVoidFuture()
            }.connect(host: "two.invalid", port: plain.address.port!)
            let winner = try await outcome(connected).get()
            #expect(winner.remoteAddress == plain.address)
            try await journal.wait(for: "closed 0")
            slow.succeed(())
            for _ in 0..<3 { try await group.loops[0].submit {}.get() }
            #expect(winner.isActive && winner !== channels.all[0])
            #expect(journal.events == ["closed 0"] && channels.all.count == 2)
            withExtendedLifetime(plain) {}
        }
    }

    @Test("Refused at one address of a name, a client connects to the other", arguments: streamTransports)
    func refusedAtFirst(transport: TransportKind) async throws {
        let plain = try PlainListener()
        try await withRingGroup(transport) { group async throws in
            let bootstrap = RingClientBootstrap(group: group)
            bootstrap.lookUp = bothLoopbacks
            let channel = try await bootstrap.connect(host: "two.invalid", port: plain.address.port!).get()
            #expect(channel.remoteAddress == plain.address)
            let peer = try await plain.accept()
            try await outcome(channel.sending(ByteBuffer(string: "x"))).get()
            #expect(try await peer.receive() == Array("x".utf8))
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
