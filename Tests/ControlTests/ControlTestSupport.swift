import Foundation
import Testing

@testable import Supervisor
@testable import Transport
@testable import TransportTesting

/// A directory of its own, removed at the end.
final class ScratchDirectory: Sendable {
    let path: String

    init() throws {
        path = "/tmp/ringmaster-control-\(UUID().uuidString.prefix(8))"
        guard mkdir(path, 0o755) == 0 else { throw SystemError.last("mkdir") }
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func file(_ name: String = "control") -> String { "\(path)/\(name)" }
}

/// A request as the handler got it.
struct Asked: Sendable {
    var request: ControlRequest
    var id: CommandID
}

/// A control server on a loop of its own, whose requests the test answers.
final class ControlThread: Sendable {
    let thread: LoopThread
    let asked = Recorder<Asked>()
    // Safe: touched on the loop's thread only.
    private nonisolated(unsafe) var server: ControlServer?

    /// The server takes its clients' descriptors over, as after an exec, when there is an inheritance.
    init(
        _ mode: TransportMode, _ path: String, inheriting inheritance: ControlInheritance? = nil,
        patience: ControlConversation.Patience = .init()
    ) throws {
        var configuration = mode.configuration
        // As the supervisor's loop.
        configuration.receiveBuffers = .none
        thread = try LoopThread(configuration)
        let made = try thread.on { loop -> Result<Void, ControlSocketError> in
            do throws(ControlSocketError) {
                let handler: (ControlRequest, CommandID) -> Void = { [asked = self.asked] in
                    asked.record(Asked(request: $0, id: $1))
                }
                self.server =
                    if let inheritance {
                        try ControlServer(loop, inheritance, handler: handler)
                    } else {
                        try ControlServer(loop, path: path, handler: handler)
                    }
                self.server?.patience = patience
                return .success(())
            } catch {
                return .failure(error)
            }
        }
        try made.get()
    }

    func answer(_ id: CommandID, _ reply: ControlReply) throws {
        try thread.on { _ in self.server?.answer(id, reply) }
    }

    func close(reason: String) throws {
        try thread.on { _ in self.server?.close(reason: reason) }
    }

    func inheritance() throws -> ControlInheritance {
        try #require(try thread.on { _ in self.server?.inheritance })
    }

    func join() throws {
        try thread.on { _ in self.server = nil }
        try thread.join()
    }
}

/// A client that has connected, and sent `text`.
func controlClient(_ path: String, _ text: String = "") throws -> Peer {
    let peer = try Peer(connectingTo: .unix(path: path))
    if !text.isEmpty { try peer.send(text) }
    return peer
}

extension Peer {
    /// The answer, after which the server closes.
    func reply() throws -> ControlReply {
        var line: [UInt8] = []
        while line.last != UInt8(ascii: "\n") {
            let part = try receive()
            if part.isEmpty { throw TimedOut(description: "the server closed before it had answered") }
            line += part
        }
        return try ControlLine.decode(ControlReply.self, from: line)
    }

    /// Whether the server has closed: end of file, or a reset because it left something of the client's unread.
    func isClosedByPeer() -> Bool {
        do {
            return try receive().isEmpty
        } catch {
            return (error as? SystemError)?.code == ECONNRESET
        }
    }
}
