import NIOCore
import Testing

@testable import HTTPFiles

@Suite("the log of requests")
struct RequestLogTests {
    @Test(
        "a client's address is written as everywhere in the program",
        arguments: [
            ("127.0.0.1", "127.0.0.1:4711"), ("::1", "[::1]:4711"), ("::ffff:10.0.0.7", "[::ffff:10.0.0.7]:4711"),
        ])
    func addresses(host: String, written: String) throws {
        #expect(RequestLog.text(try SocketAddress(ipAddress: host, port: 4711)) == written)
    }

    @Test("a client of a Unix-domain socket has its path, or none", arguments: ["/run/client", ""])
    func paths(path: String) throws {
        #expect(RequestLog.text(try SocketAddress(unixDomainSocketPath: path)) == "unix:\(path)")
    }

    @Test("a connection without an address has a dash")
    func none() {
        #expect(RequestLog.text(nil) == "-")
    }
}
