import Testing

@testable import Ringmaster

@Suite("names that are meant")
struct NearestNameTests {
    @Test(
        "the name that was meant is found among near ones only",
        arguments: [
            ("workers", "workers"), ("worker", "workers"), ("wrkers", "workers"), ("WORKERS", "workers"),
            ("listners", "listeners"), ("graze", "grace"), ("gruze", nil), ("x", nil), ("", nil),
            ("workersworkers", nil),
        ] as [(String, String?)])
    func nearest(written: String, meant: String?) {
        #expect(NearestName.find(written, among: ["listeners", "workers", "grace"]) == meant)
    }
}
