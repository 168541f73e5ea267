import Foundation
import Testing

@testable import Supervisor
@testable import Transport
@testable import TransportTesting

@Suite("control socket: its server")
struct ControlServerTests {
    private static let modes = TransportMode.available.filter { $0 != .incremental }
    private static let statusLine = #"{"command":"status"}"# + "\n"

    @Test("each request reaches the handler, and its answer the client", arguments: modes)
    func requests(mode: TransportMode) throws {
        let directory = try ScratchDirectory()
        let server = try ControlThread(mode, directory.file())
        for request in [
            ControlRequest.status, .reload, .upgrade, .scale(to: 3), .drain(slot: 1), .stop(fast: true),
        ] {
            let answered = Recorder<ControlReply>()
            Thread.detachNewThread { [path = directory.file()] in
                if let reply = try? ControlCall.make(request, at: path, timeout: .seconds(10)) {
                    answered.record(reply)
                }
            }
            let asked = try server.asked.next()
            #expect(asked.request == request)
            try server.answer(asked.id, ControlReply(ok: request == .status, message: "über \(asked.id.rawValue)\n"))
            let reply = try answered.next()
            #expect(reply.ok == (request == .status) && reply.message == "über \(asked.id.rawValue)\n")
        }
        try server.join()
    }

    @Test("answers come in whatever order, each to its own client, and once", arguments: modes)
    func order(mode: TransportMode) throws {
        let directory = try ScratchDirectory()
        let server = try ControlThread(mode, directory.file())
        var clients: [(peer: Peer, id: CommandID)] = []
        for count in 1...5 {
            let peer = try controlClient(directory.file(), #"{"command":"scale","to":\#(count)}"# + "\n")
            let asked = try server.asked.next()
            #expect(asked.request == .scale(to: count))
            clients.append((peer, asked.id))
        }
        #expect(Set(clients.map(\.id)).count == 5)
        for client in clients.reversed() {
            try server.answer(client.id, ControlReply(ok: true, message: "\(client.id.rawValue)"))
            try server.answer(client.id, ControlReply(ok: true, message: "again"))
            #expect(try client.peer.reply().message == "\(client.id.rawValue)")
            #expect(client.peer.isClosedByPeer())
        }
        try server.join()
    }

    @Test(
        "a request that makes no sense is told so, and nobody else hears of it",
        arguments: across(
            modes,
            [
                "\n", "status\n", "{}\n", #"{"command":"dance"}"# + "\n", #"{"command":"scale"}"# + "\n",
                #"{"command":"scale","to":"many"}"# + "\n", #"{"command":"scale","to":1e99}"# + "\n", "\u{0}\u{0}\n",
                "[[[[[[[[\n", "GET / HTTP/1.1\r\n\r\n",
            ]))
    func nonsense(mode: TransportMode, text: String) throws {
        let directory = try ScratchDirectory()
        let server = try ControlThread(mode, directory.file())
        let reply = try controlClient(directory.file(), text).reply()
        #expect(!reply.ok && reply.message.contains(#"send a line such as {"command":"status"}"#))
        #expect(server.asked.all.isEmpty)
        try server.join()
    }

    @Test("a request without end is refused at 4,097 bytes", arguments: modes)
    func tooLong(mode: TransportMode) throws {
        let directory = try ScratchDirectory()
        let server = try ControlThread(mode, directory.file())
        let client = try controlClient(directory.file(), String(repeating: " ", count: 4096))
        try server.thread.settle()
        try client.send(" ")
        #expect(try client.reply().message == "a request has at most 4096 bytes")
        #expect(client.isClosedByPeer())
        try server.join()
    }

    @Test("a client that asks nothing for too long is told so, also when it sends now and then", arguments: modes)
    func silence(mode: TransportMode) throws {
        let directory = try ScratchDirectory()
        let server = try ControlThread(mode, directory.file(), patience: .init(request: .seconds(1)))
        let client = try controlClient(directory.file())
        // Every tenth of a second: patience that began anew with each byte would never end. Sending fails once it has.
        var sent = 0
        while sent < 400, (try? client.send("{")) != nil {
            sent += 1
            usleep(100_000)
        }
        #expect(sent < 400, "the client could go on")
        #expect(try client.reply().message == "no request came within 1 s")
        try server.join()
    }

    @Test("a request in pieces, ended by the end of file, is answered all the same", arguments: modes)
    func halfClosed(mode: TransportMode) throws {
        let directory = try ScratchDirectory()
        let server = try ControlThread(mode, directory.file())
        let client = try controlClient(directory.file())
        for byte in #"{"command":"reload"}"#.utf8 { try client.send([byte]) }
        client.finishOutput()
        let asked = try server.asked.next()
        #expect(asked.request == .reload)
        try server.thread.settle()
        try server.answer(asked.id, ControlReply(ok: true, message: "reloaded"))
        #expect(try client.reply().message == "reloaded")
        try server.join()
    }

    @Test("an answer that does not fit into the socket reaches a client that is slow to read it", arguments: modes)
    func slowReader(mode: TransportMode) throws {
        let directory = try ScratchDirectory()
        let server = try ControlThread(mode, directory.file())
        let client = try controlClient(directory.file(), Self.statusLine)
        let message = String(repeating: "0123456789", count: 200_000)
        try server.answer(try server.asked.next().id, ControlReply(ok: true, message: message))
        try server.thread.settle()
        // Others are served meanwhile.
        let other = try controlClient(directory.file(), Self.statusLine)
        try server.answer(try server.asked.next().id, ControlReply(ok: true, message: "other"))
        #expect(try other.reply().message == "other")
        #expect(try client.reply().message == message)
        try server.join()
    }

    @Test("a client that does not read its answer is given up", arguments: modes)
    func noReader(mode: TransportMode) throws {
        let directory = try ScratchDirectory()
        let server = try ControlThread(mode, directory.file(), patience: .init(answer: .milliseconds(200)))
        let client = try controlClient(directory.file(), Self.statusLine)
        let message = String(repeating: "0123456789", count: 200_000)
        try server.answer(try server.asked.next().id, ControlReply(ok: true, message: message))
        #expect(try server.inheritance().descriptors.count == 2)
        try eventually { try server.inheritance().descriptors.count == 1 }
        #expect(try client.receiveToEnd().count < message.utf8.count)
        try server.join()
    }

    @Test("the seventeenth client is told that there are enough, and served when one has left", arguments: modes)
    func crowd(mode: TransportMode) throws {
        let directory = try ScratchDirectory()
        let server = try ControlThread(mode, directory.file())
        var clients = try (0..<16).map { _ in try controlClient(directory.file(), Self.statusLine) }
        for _ in 0..<16 { _ = try server.asked.next() }
        let seventeenth = try controlClient(directory.file())
        #expect(try seventeenth.reply().message == "16 clients are being served already: try again later")
        #expect(seventeenth.isClosedByPeer())
        clients.removeLast()
        try eventually { try server.inheritance().commands.count == 15 }
        let next = try controlClient(directory.file(), Self.statusLine)
        try server.answer(try server.asked.next().id, ControlReply(ok: true, message: "served"))
        #expect(try next.reply().message == "served")
        try server.join()
    }

    @Test("clients that leave before their answer leave no trace", arguments: modes)
    func gone(mode: TransportMode) throws {
        let directory = try ScratchDirectory()
        let server = try ControlThread(mode, directory.file())
        var ids: [CommandID] = []
        for text in ["", "{", Self.statusLine, Self.statusLine] {
            let client = try controlClient(directory.file(), text)
            if text == Self.statusLine { ids.append(try server.asked.next().id) }
            client.close()
        }
        try eventually { try server.inheritance().descriptors.count == 1 }
        for id in ids { try server.answer(id, ControlReply(ok: true, message: "nobody hears this")) }
        #expect(try server.inheritance().descriptors.count == 1)
        try server.join()
    }

    @Test("another user is refused, though the file's mode let it connect", .needsRoot)
    func otherUser() async {
        await #expect(processExitsWith: .success) {
            let directory = try ScratchDirectory()
            let server = try ControlThread(.epoll, directory.file())
            #expect(chmod(directory.file(), 0o666) == 0)
            let own = try controlClient(directory.file(), #"{"command":"status"}"# + "\n")
            try server.answer(try server.asked.next().id, ControlReply(ok: true, message: "own"))
            #expect(try own.reply().message == "own")
            // glibc changes all threads; the server remembers who it was for.
            #expect(setuid(65534) == 0)
            let client = try controlClient(directory.file())
            #expect(try client.reply().message == "only the user that runs this server, and root, may ask")
            #expect(client.isClosedByPeer() && server.asked.all.isEmpty)
        }
    }

    @Test("another user cannot even connect, and is told as whom to ask", .needsRoot)
    func otherUserAtTheDoor() async {
        await #expect(processExitsWith: .success) {
            let directory = try ScratchDirectory()
            let server = try ControlThread(.epoll, directory.file())
            #expect(setuid(65534) == 0)
            let error = #expect(throws: ControlCallError.self) {
                try ControlCall.make(.status, at: directory.file(), timeout: .seconds(5))
            }
            #expect(error?.description.contains("ask as the user that runs the server, or as root") == true)
            withExtendedLifetime(server) {}
        }
    }

    @Test("at the end those who wait are told, the name is gone, and nobody else is taken", arguments: modes)
    func close(mode: TransportMode) throws {
        let directory = try ScratchDirectory()
        let server = try ControlThread(mode, directory.file())
        let waiting = try controlClient(directory.file(), Self.statusLine)
        _ = try server.asked.next()
        let asking = try controlClient(directory.file(), "{")
        try eventually { try server.inheritance().descriptors.count == 3 }
        try server.close(reason: "it has stopped")
        #expect(try waiting.reply().message == "it has stopped")
        #expect(try asking.reply().message == "it has stopped")
        #expect(access(directory.file(), F_OK) != 0)
        try server.join()
        let error = #expect(throws: ControlCallError.self) {
            try ControlCall.make(.status, at: directory.file(), timeout: .seconds(5))
        }
        #expect(error?.description.contains("is a server running with --control \(directory.file())?") == true)
    }

    @Test("without a descriptor left, clients wait in the queue and are served later")
    func noDescriptors() async {
        await #expect(processExitsWith: .success) {
            let directory = try ScratchDirectory()
            let server = try ControlThread(.epoll, directory.file())
            let client = try Socket.stream(AF_UNIX)
            let table = FullTable()
            let address = SocketAddress.unix(path: directory.file())
            #expect(address.withSockaddr { connect(client, $0, $1) } == 0)
            try server.thread.settle()
            #expect(try server.inheritance().descriptors.count == 1)
            table.release()
            try Peer(fd: client).send(#"{"command":"reload"}"# + "\n")
            #expect(try server.asked.next().request == .reload)
        }
    }

    @Test("a client waits no longer than it was told to, and learns when the supervisor has ended")
    func unanswered() throws {
        let directory = try ScratchDirectory()
        let server = try ControlThread(.epoll, directory.file())
        let impatient = #expect(throws: ControlCallError.self) {
            try ControlCall.make(.reload, at: directory.file(), timeout: .milliseconds(50))
        }
        #expect(impatient?.description == "no answer within 0.05 s; what was asked may still be done")
        let ended = Recorder<String>()
        Thread.detachNewThread { [path = directory.file()] in
            do throws(ControlCallError) {
                _ = try ControlCall.make(.upgrade, at: path, timeout: .seconds(10))
            } catch {
                ended.record(error.description)
            }
        }
        try server.asked.wait { $0.count == 2 }
        try server.join()
        #expect(try ended.next() == "the supervisor ended before it answered")
    }
}
