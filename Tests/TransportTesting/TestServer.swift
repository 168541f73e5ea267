import Foundation
import Testing

@testable import Transport

/// A loop with a listener on it; each accepted connection is recorded and set up by the test.
final class TestServer: Sendable {
    let thread: LoopThread
    let address: SocketAddress
    /// What happens to the accepted connections, all in one list.
    let recorder = Recorder<Happening>()
    /// The accepted connections, in the order of acceptance.
    let connections = Recorder<ConnectionBox>()

    init(
        _ address: SocketAddress = .anyLoopback, _ configuration: EventLoopConfiguration = .init(),
        connection: ConnectionConfiguration = .init(), sendBuffer: Int32? = nil, reading: Bool = true,
        setUp: @escaping @Sendable (RecordingConnection) -> Void = { _ in }
    ) throws {
        let fd = try Socket.listen(address, backlog: 1024)
        if let sendBuffer { _ = Socket.set(fd, SOL_SOCKET, SO_SNDBUF, sendBuffer) }
        self.address = try #require(Socket.localAddress(of: fd))
        thread = try LoopThread(configuration)
        let recorder = recorder
        let connections = connections
        _ = try thread.on { loop in
            let listener = Listener(loop, fd: fd) { fd in
                let accepted = RecordingConnection(loop, fd: fd, recorder, connection)
                setUp(accepted)
                accepted.start(reading: reading)
                connections.record(ConnectionBox(accepted))
            }
            listener.resume()
        }
    }

    convenience init(
        _ mode: TransportMode, _ address: SocketAddress = .anyLoopback,
        connection: ConnectionConfiguration = .init(), sendBuffer: Int32? = nil, reading: Bool = true,
        setUp: @escaping @Sendable (RecordingConnection) -> Void = { _ in }
    ) throws {
        try self.init(
            address, mode.configuration, connection: connection, sendBuffer: sendBuffer, reading: reading, setUp: setUp)
    }

    /// Runs `body` on the loop with the first connection accepted.
    @discardableResult
    func first<Value: Sendable>(_ body: @escaping @Sendable (RecordingConnection) -> Value) throws -> Value {
        let box = try connections.wait { !$0.isEmpty }[0]
        return try thread.on { _ in body(box.connection) }
    }

    /// The inode of the first connection's socket: unlike the descriptor's number it is not reused by another test.
    func firstInode() throws -> UInt64 {
        try first { connection in socketInode(connection.fd) }
    }

    func join() throws { try thread.join() }
}

/// Which socket a descriptor refers to; 0 when it is closed.
func socketInode(_ fd: Int32) -> UInt64 {
    var status = stat()
    return fstat(fd, &status) == 0 ? UInt64(status.st_ino) : 0
}

/// Whether any descriptor of this process refers to the socket.
func isOpen(inode: UInt64) throws -> Bool {
    let folder = "/proc/self/fd"
    return try FileManager.default.contentsOfDirectory(atPath: folder).contains { name in
        // A descriptor may be closed meanwhile, by this or another test.
        let target = try? FileManager.default.destinationOfSymbolicLink(atPath: "\(folder)/\(name)")
        return target == "socket:[\(inode)]"
    }
}

extension SocketAddress {
    static let anyLoopback = SocketAddress.ipv4(0x7f00_0001, port: 0)
    static let anyLoopbackV6 = SocketAddress.ipv6(high: 0, low: 1, port: 0, scope: 0)
    static func temporaryUnix() -> SocketAddress {
        .unix(path: "/tmp/ringmaster-test-\(getpid())-\(UInt32.random(in: 0 ... .max)).sock")
    }
}

/// The families that every behaviour holds for.
enum AddressFamily: String, CaseIterable, Codable, Sendable {
    case ipv4, ipv6, unix

    /// A new address to listen on.
    var address: SocketAddress {
        switch self {
        case .ipv4: .anyLoopback
        case .ipv6: .anyLoopbackV6
        case .unix: .temporaryUnix()
        }
    }
}
