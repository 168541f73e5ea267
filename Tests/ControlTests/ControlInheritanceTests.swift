import Foundation
import Testing

@testable import Supervisor
@testable import Transport
@testable import TransportTesting

@Suite("control socket: across an exec")
struct ControlInheritanceTests {
    private static let modes = TransportMode.available.filter { $0 != .incremental }
    private static let statusLine = #"{"command":"status"}"# + "\n"

    /// What execve(2) does, as far as a control server can tell: the descriptors live on under the same numbers, the
    /// values as JSON, and the old loop ends without having closed anything.
    private func exec(
        _ server: ControlThread, _ mode: TransportMode, _ path: String, meanwhile: () throws -> Void = {}
    ) throws -> ControlThread {
        let old = try server.inheritance()
        let json = try JSONEncoder().encode(old)
        let copies = try old.descriptors.map { try SystemError.check(fcntl($0, F_DUPFD, 0), "fcntl") }
        try server.join()
        for (descriptor, copy) in zip(old.descriptors, copies) {
            #expect(dup2(copy, descriptor) == descriptor)
            close(copy)
        }
        try meanwhile()
        return try ControlThread(mode, path, inheriting: try JSONDecoder().decode(ControlInheritance.self, from: json))
    }

    /// In a process of its own: descriptor numbers are reused at once where other tests run.
    @Test("clients that wait are answered by the next program; half a request is gone on with", arguments: modes)
    func clients(mode: TransportMode) async {
        await #expect(processExitsWith: .success) { [mode] in
            let test = ControlInheritanceTests()
            let directory = try ScratchDirectory()
            let path = directory.file()
            let first = try ControlThread(mode, path)
            let answered = try controlClient(path, Self.statusLine)
            try first.answer(try first.asked.next().id, ControlReply(ok: true, message: "by the first"))
            #expect(try answered.reply().message == "by the first")
            let waiting = try controlClient(path, Self.statusLine)
            let id = try first.asked.next().id
            let asking = try controlClient(path, #"{"command":"#)
            try eventually { try first.inheritance().descriptors.count == 3 }
            try first.thread.settle()

            let second = try test.exec(first, mode, path)
            #expect(try second.inheritance().commands == [id])
            for descriptor in try second.inheritance().descriptors {
                #expect(fcntl(descriptor, F_GETFD) == FD_CLOEXEC)
            }
            try asking.send(#""reload"}"# + "\n")
            let other = try second.asked.next()
            // A command whose client has left may be under way still: its number must not come again.
            #expect(other.request == .reload && other.id.rawValue > id.rawValue)
            try second.answer(id, ControlReply(ok: true, message: "by the second"))
            #expect(try waiting.reply().message == "by the second")
            try second.answer(other.id, ControlReply(ok: true, message: "reloaded"))
            #expect(try asking.reply().message == "reloaded")

            var clients: [Peer] = []
            let third = try test.exec(second, mode, path) { clients.append(try controlClient(path, Self.statusLine)) }
            try third.answer(try third.asked.next().id, ControlReply(ok: true, message: "by the third"))
            #expect(try clients[0].reply().message == "by the third")
            try third.close(reason: "end")
            #expect(access(path, F_OK) != 0)
        }
    }

    @Test("an answer under way arrives whole", arguments: modes)
    func answer(mode: TransportMode) async {
        await #expect(processExitsWith: .success) { [mode] in
            let test = ControlInheritanceTests()
            let directory = try ScratchDirectory()
            let first = try ControlThread(mode, directory.file())
            let client = try controlClient(directory.file(), Self.statusLine)
            let message = String(repeating: "0123456789", count: 200_000)
            try first.answer(try first.asked.next().id, ControlReply(ok: true, message: message))
            let second = try test.exec(first, mode, directory.file())
            #expect(try client.reply().message == message)
            try second.join()
        }
    }

    @Test("a descriptor that has not come along is said to be missing")
    func missing() async {
        await #expect(processExitsWith: .success) {
            let directory = try ScratchDirectory()
            let first = try ControlThread(.epoll, directory.file())
            let inheritance = try first.inheritance()
            let descriptor = try #require(inheritance.descriptors.first)
            // Not its own number: the next loop may be given that one.
            let text = String(decoding: try JSONEncoder().encode(inheritance), as: UTF8.self)
                .replacing(#""descriptor":\#(descriptor)"#, with: #""descriptor":1000000"#)
            let lost = try JSONDecoder().decode(ControlInheritance.self, from: Data(text.utf8))
            let error = #expect(throws: ControlSocketError.self) {
                try ControlThread(.epoll, directory.file(), inheriting: lost)
            }
            #expect(
                error?.description
                    == "descriptor 1000000 of the control socket has not come along: Bad file descriptor")
        }
    }
}
