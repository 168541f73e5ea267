/// Opening many connections at a bounded pace: so many attempts at once and no more, lest the listener's backlog overflows.
struct Dialling {
    let wanted: Int
    let atOnceMax: Int
    private(set) var begun = 0
    private(set) var opened = 0
    private(set) var failed = 0
    private var isStopped = false

    init(wanted: Int, atOnceMax: Int) {
        precondition(wanted >= 1 && atOnceMax >= 1)
        self.wanted = wanted
        self.atOnceMax = atOnceMax
    }

    var outstanding: Int { begun - opened - failed }
    /// Every attempt has ended, and there will be no more.
    var isComplete: Bool { outstanding == 0 && (isStopped || begun == wanted) }

    /// The number of the next connection to begin; nil when it has to wait, or there is none.
    mutating func next() -> Int? {
        guard !isStopped, begun < wanted, outstanding < atOnceMax else { return nil }
        defer { begun += 1 }
        return begun
    }

    mutating func ended(isOpen: Bool) {
        precondition(outstanding > 0, "an attempt ends once")
        if isOpen { opened += 1 } else { failed += 1 }
    }

    /// Begins no more.
    mutating func stop() {
        isStopped = true
    }
}
