/// Who is on a ``Roster``. Only that writes to it.
protocol RosterMember: AnyObject {
    /// Where it stands there.
    var place: Int { get set }
}

/// The connections of a service, in no order: each is entered and struck off without a search.
struct Roster<Member: RosterMember> {
    private(set) var members: [Member] = []

    var count: Int { members.count }

    mutating func enter(_ member: Member) {
        member.place = members.count
        members.append(member)
    }

    /// The last takes its place.
    mutating func strike(_ member: Member) {
        let place = member.place
        precondition(members[place] === member, "who is struck off was entered")
        let last = members.removeLast()
        guard last !== member else { return }
        last.place = place
        members[place] = last
    }
}
