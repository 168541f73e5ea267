import Foundation
import Testing
import Transport

@testable import IntegrationTesting

extension Integration {
    @Suite(.serialized)
    struct ExampleTests {
        @Test("line-chat: what one client writes reaches the others and not itself, line by line")
        func chat() throws {
            let program = Ringmaster.built("line-chat")
            let port = try Self.freePort()
            let server = try ChildProcess(program, ["\(port)"])
            defer { server.kill() }
            let address = SocketAddress.ipv4(0x7f00_0001, port: port)
            try wait(for: "line-chat to listen") { (try? Client(to: address)) != nil }
            // Whoever has been heard is in the room.
            let first = try Client(to: address)
            let second = try Client(to: address)
            try second.send("one\n")
            #expect(try first.receive(4) == "one\n")
            let third = try Client(to: address)
            try third.send("two, in ")
            try third.send("pieces\n")
            #expect(try first.receive(15) == "two, in pieces\n")
            #expect(try second.receive(15) == "two, in pieces\n")
            try first.send("three\nfour\n")
            #expect(try second.receive(11) == "three\nfour\n")
            #expect(try third.receive(11) == "three\nfour\n")
            try second.send("five\n")
            #expect(try first.receive(5) == "five\n", "nobody hears himself")
        }

        /// A port that was free a moment ago.
        private static func freePort() throws -> UInt16 {
            let fd = try Socket.listen(.ipv4(0x7f00_0001, port: 0), backlog: 1)
            defer { close(fd) }
            return Socket.localAddress(of: fd)?.port ?? 0
        }
    }
}
