import Testing

@testable import ringload

@Suite("descriptors")
struct DescriptorNeedTests {
    @Test("the limit is raised to what is needed, the hard one only if it must be")
    func raised() {
        let need = DescriptorNeed(connections: 1000)
        #expect(need.raised(soft: 1064, hard: 1064) == nil)
        #expect(need.raised(soft: 1024, hard: 4096).map { [$0.soft, $0.hard] } == [1064, 4096])
        #expect(need.raised(soft: 1024, hard: 1024).map { [$0.soft, $0.hard] } == [1064, 1064])
    }

    @Test("a shortage says what is needed, how to get it, and how to do without")
    func shortage() {
        let error = DescriptorNeed(connections: 100_000).shortage(hard: 20_000)
        #expect(error.kind == .system && error.kind.rawValue == 71)
        for part in ["100064", "20000", "ulimit -Hn", "several ringload processes of at most 19936", "--source"] {
            #expect(error.message.contains(part))
        }
    }

    @Test("where one process could have next to none, no several are advised")
    func hopeless() {
        let message = DescriptorNeed(connections: 1).shortage(hard: 20).message
        #expect(message.contains("1 connection needs 65 descriptors") && !message.contains("several"), "\(message)")
        #expect(!DescriptorNeed(connections: 1000).shortage(hard: 100).message.contains("several"))
    }
}
