import Testing
import Transport

@testable import ringload

@Suite("addresses to connect from")
struct SourceRangeTests {
    private let loopback = SocketAddress.ipv4(0x7f00_0001, port: 7000)

    @Test("a range is used in turn, with ports that the kernel chooses")
    func rotation() throws {
        let range = try #require(SourceRange(parsing: "127.0.0.2-127.0.0.4"))
        let hosts = (0..<7).map { range.address($0).host }
        #expect(hosts == [2, 3, 4, 2, 3, 4, 2].map { "127.0.0.\($0)" })
        #expect(range.address(0).port == 0)
        #expect(SourceRange(parsing: "127.0.0.255-127.0.1.1")?.address(1).host == "127.0.1.0")
        #expect(SourceRange(parsing: "10.0.0.1")?.count == 1)
        #expect(SourceRange(parsing: "::1")?.address(5).host == "::1")
    }

    @Test(
        "what is no range is refused",
        arguments: [
            "", "-", "127.0.0.2-", "127.0.0.4-127.0.0.2", "a", "127.0.0.1-::1", "::1-::2", "1.1.1.1-2.2.2.2-3.3.3.3",
            "127.0.0.0-127.255.0.0",
        ])
    func refused(text: String) {
        #expect(SourceRange(parsing: text) == nil)
    }

    @Test("on loopback there are as many as the ports ask for, elsewhere the kernel chooses")
    func automatic() {
        func count(_ connections: Int, _ target: SocketAddress, isChurn: Bool = false) -> Int? {
            SourceRange.automatic(for: target, connections: connections, isChurn: isChurn)?.count
        }
        #expect(count(8000, loopback) == nil)
        #expect(count(8001, loopback) == 3)
        #expect(count(100_000, loopback) == 25)
        #expect(count(100_000, loopback, isChurn: true) == 25)
        #expect(count(1, loopback, isChurn: true) == 16)
        #expect(count(100_000, .ipv4(0x0a00_0001, port: 1)) == nil)
        #expect(count(100_000, .unix(path: "/x")) == nil)
    }
}
