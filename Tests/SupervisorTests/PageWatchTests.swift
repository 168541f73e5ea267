import Testing
import Transport

@testable import Supervisor

@Suite("looks at the status pages")
struct PageWatchTests {
    private static func time(_ microseconds: Int) -> MonotonicTime {
        MonotonicTime(nanoseconds: 0) + .microseconds(microseconds)
    }

    @Test("while something is awaited, a look follows every millisecond, then ever more rarely")
    func looks() {
        var watch = PageWatch()
        watch.progress(now: Self.time(0))
        watch.rearm(now: Self.time(0), need: .progress, hasLooked: false)
        #expect(watch.at == Self.time(1_000))
        watch.rearm(now: Self.time(1_000), need: .progress, hasLooked: true)
        #expect(watch.at == Self.time(3_000))
        watch.rearm(now: Self.time(3_000), need: .progress, hasLooked: true)
        #expect(watch.at == Self.time(7_000))
    }

    @Test("who looks in between puts the next look off, and who does not look does not")
    func between() {
        var watch = PageWatch()
        watch.progress(now: Self.time(0))
        watch.rearm(now: Self.time(0), need: .progress, hasLooked: false)
        watch.rearm(now: Self.time(400), need: .progress, hasLooked: false)
        #expect(watch.at == Self.time(1_000))
        watch.rearm(now: Self.time(800), need: .progress, hasLooked: true)
        #expect(watch.at == Self.time(1_800))
        watch.rearm(now: Self.time(1_900), need: .progress, hasLooked: false)
        #expect(watch.at == Self.time(1_800), "what is due stays due until somebody looks")
    }
}
