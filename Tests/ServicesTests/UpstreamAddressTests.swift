import Testing
import Transport

@testable import Services

@Suite("upstream address")
struct UpstreamAddressTests {
    @Test("numeric addresses, names and paths are told apart")
    func forms() throws {
        #expect(try UpstreamAddress(parsing: "10.0.0.7:6379") == .address(.ipv4(0x0A00_0007, port: 6379)))
        #expect(
            try UpstreamAddress(parsing: "[::1]:6379") == .address(.ipv6(high: 0, low: 1, port: 6379, scope: 0)))
        #expect(try UpstreamAddress(parsing: "unix:/run/redis.sock") == .address(.unix(path: "/run/redis.sock")))
        #expect(try UpstreamAddress(parsing: "redis:6379") == .name(host: "redis", port: 6379))
    }

    @Test("the description is read back", arguments: ["10.0.0.7:6379", "[::1]:6379", "unix:/run/a", "redis:6379"])
    func description(text: String) throws {
        #expect(try UpstreamAddress(parsing: text).description == text)
    }

    @Test("port 0 is refused for addresses and names", arguments: ["10.0.0.7:0", "[::1]:0", "redis:0", "redis:00"])
    func portZero(text: String) {
        let error = #expect(throws: AddressSyntaxError.self) { try UpstreamAddress(parsing: text) }
        #expect(error?.reason == .portZero)
    }

    @Test("other faults are refused as for a listening address", arguments: ["redis", "::1:80", "unix:redis.sock", ""])
    func refusals(text: String) {
        let expected = #expect(throws: AddressSyntaxError.self) { try ListenAddress(parsing: text) }
        let error = #expect(throws: AddressSyntaxError.self) { try UpstreamAddress(parsing: text) }
        #expect(error == expected && error != nil)
    }
}
