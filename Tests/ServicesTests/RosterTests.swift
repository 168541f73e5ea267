import Testing

@testable import Services

@Suite("roster")
struct RosterTests {
    private final class Member: RosterMember {
        var place = -1
    }

    @Test("members come and go in any order, and those who stay are found")
    func comeAndGo() {
        var random = SplitMix64(seed: 1)
        var roster = Roster<Member>()
        var expected: [Member] = []
        for _ in 0..<1_000 {
            if expected.isEmpty || random.next() % 5 < 3 {
                expected.append(Member())
                roster.enter(expected[expected.count - 1])
            } else {
                roster.strike(expected.remove(at: Int(random.next() % UInt64(expected.count))))
            }
            #expect(roster.count == expected.count)
        }
        #expect(Set(roster.members.map(ObjectIdentifier.init)) == Set(expected.map(ObjectIdentifier.init)))
        for member in expected { roster.strike(member) }
        #expect(roster.members.isEmpty)
    }
}
