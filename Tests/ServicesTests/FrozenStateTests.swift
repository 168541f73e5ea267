import Testing
import Transport

@testable import Services

@Suite("the state of a moved connection")
struct FrozenStateTests {
    private static let remainders = [
        ConnectionRemainder.none,
        ConnectionRemainder(unread: [1, 2, 3], unsent: [4, 5])!,
        ConnectionRemainder(unsent: [6], isInputEnded: true)!,
        ConnectionRemainder(isInputEnded: true, output: .finished)!,
        ConnectionRemainder(unread: [7], unsent: [8], output: .finishing)!,
    ]

    private static func pair(
        _ address: SocketAddress, client: ConnectionRemainder = .none, upstream: ConnectionRemainder = .none
    ) -> FrozenState {
        let moment = MonotonicTime(nanoseconds: 0x0102_0304_0506_0708)
        return .pair(
            FrozenPair(upstreamAddress: address, lastActivity: moment, client: client, upstream: upstream)!)
    }

    static let states: [FrozenState] =
        remainders.map { .echo($0) } + [
            pair(.ipv4(0x7f00_0001, port: 5432)),
            pair(.ipv6(high: 1, low: 2, port: 80, scope: 3)),
            pair(.unix(path: "/run/ü.sock"), client: ConnectionRemainder(unread: [1], unsent: [2])!),
            pair(
                .unix(path: String(repeating: "p", count: SocketAddress.unixPathLengthMax)),
                client: ConnectionRemainder(isInputEnded: true)!,
                upstream: ConnectionRemainder(unread: [3], unsent: [4, 5], output: .finishing)!),
            pair(
                .ipv4(1, port: 2), client: ConnectionRemainder(unsent: [1], isInputEnded: true, output: .finishing)!,
                upstream: ConnectionRemainder(isInputEnded: true, output: .finished)!),
        ]

    @Test("what is encoded decodes to the same", arguments: states)
    func roundTrip(state: FrozenState) {
        #expect(FrozenState(decoding: state.encoded) == state)
    }

    @Test("a state that is cut short, or has a byte too many, makes no sense", arguments: states)
    func wrongLength(state: FrozenState) {
        let bytes = state.encoded
        for count in 0..<bytes.count { #expect(FrozenState(decoding: Array(bytes[..<count])) == nil) }
        #expect(FrozenState(decoding: bytes + [0]) == nil)
    }

    @Test("whatever decodes, encodes back: each single damaged byte is refused or is another state", arguments: states)
    func damagedByte(state: FrozenState) {
        for position in state.encoded.indices {
            for damage: UInt8 in [0x01, 0x80, 0xff] {
                var bytes = state.encoded
                bytes[position] ^= damage
                guard let other = FrozenState(decoding: bytes) else { continue }
                #expect(other != state && other.encoded == bytes)
            }
        }
    }

    @Test(
        "fields that no service of this version writes are refused",
        arguments: [
            [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0],  // another version
            [1, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0],  // another kind
            [1, 1, 6, 0, 0, 0, 0, 0, 0, 0, 0],  // an output both finishing and finished
            [1, 1, 8, 0, 0, 0, 0, 0, 0, 0, 0],  // an unknown flag
            [1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 9],  // unread bytes behind the end
            [1, 1, 4, 0, 0, 0, 0, 1, 0, 0, 0, 9],  // unsent bytes behind FIN
            [1, 1, 0, 255, 255, 255, 255, 0, 0, 0, 0],  // more than there is
        ] as [[UInt8]])
    func impossible(bytes: [UInt8]) {
        #expect(FrozenState(decoding: [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]) == .echo(.none))
        #expect(FrozenState(decoding: bytes) == nil)
    }

    @Test("a pair whose sides contradict each other is none")
    func contradiction() {
        let ended = ConnectionRemainder(isInputEnded: true)!
        let finished = ConnectionRemainder(output: .finished)!
        let address = SocketAddress.ipv4(1, port: 1)
        for (client, upstream) in [(ended, .none), (.none, ended), (finished, .none), (.none, finished)] {
            let pair = FrozenPair(
                upstreamAddress: address, lastActivity: .now, client: client, upstream: upstream)
            #expect(pair == nil)
        }
    }
}

@Suite("ends spread over a time")
struct SpreadEndsTests {
    private let begin = MonotonicTime(nanoseconds: 1_000)

    private func ended(_ spread: inout SpreadEnds, after duration: Duration) -> Int {
        var count = 0
        while count < 1000, spread.takeTurn(now: begin + duration) { count += 1 }
        return count
    }

    @Test("ends come evenly, and nothing is held back when the time is over")
    func even() {
        var spread = SpreadEnds(10, over: .seconds(1), now: begin)
        #expect(ended(&spread, after: .zero) == 0)
        #expect(ended(&spread, after: .milliseconds(250)) == 3)
        #expect(ended(&spread, after: .milliseconds(250)) == 0)
        #expect(ended(&spread, after: .milliseconds(500)) == 2)
        #expect(ended(&spread, after: .milliseconds(999)) == 5)
        #expect(ended(&spread, after: .seconds(1)) == 1000)
    }

    @Test("a spread over no time holds nothing back")
    func atOnce() {
        var spread = SpreadEnds(10, over: .zero, now: begin)
        #expect(ended(&spread, after: .zero) == 1000)
    }
}
