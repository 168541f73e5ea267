// A chat: what one client writes, line by line, all others read.
//
//   swift run line-chat 7777        then, in two terminals: nc 127.0.0.1 7777
import Glibc
import Transport

/// Who is in the room. It lives on one loop, hence on one thread: no locks.
final class Room {
    var members: [ObjectIdentifier: Member] = [:]

    func say(_ line: String, except speaker: Member) {
        for member in members.values where member !== speaker { member.write(line) }
    }
}

/// One client.
final class Member: Connection {
    private unowned let room: Room
    private var unfinished: [UInt8] = []
    private static let lineBytesMax = 4096

    init(_ loop: EventLoop, fd: Int32, room: Room) {
        self.room = room
        super.init(loop, fd: fd)
        room.members[ObjectIdentifier(self)] = self
        start()
    }

    /// Bytes come as the network cut them: a line may take several calls, a call may bring several lines.
    override func received(_ bytes: RawSpan) {
        bytes.withUnsafeBytes { unfinished += $0 }
        while let end = unfinished.firstIndex(of: UInt8(ascii: "\n")) {
            room.say(String(decoding: unfinished[...end], as: UTF8.self), except: self)
            unfinished.removeSubrange(...end)
        }
        if unfinished.count > Self.lineBytesMax { abort() }
    }

    func write(_ line: String) {
        // Who does not read is left behind rather than waited for.
        if isWritable { _ = write(line.utf8Span.span.bytes) }
    }

    override func closed(_ reason: CloseReason) {
        room.members[ObjectIdentifier(self)] = nil
    }
}

let decision = try TransportPreference.auto.decide()
let loop = try EventLoop(decision.configuration)
let room = Room()
let port = UInt16(CommandLine.arguments.dropFirst().first ?? "7777") ?? 7777
let socket = try Socket.listen(.ipv4(0x7f00_0001, port: port), backlog: 128)
let listener = Listener(loop, fd: socket) { fd in _ = Member(loop, fd: fd, room: room) }
listener.resume()
print("chat on 127.0.0.1:\(port), over \(decision.transport.rawValue)")
try loop.run()
