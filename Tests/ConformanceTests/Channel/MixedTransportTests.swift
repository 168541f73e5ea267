import Foundation
import Testing

@testable import Transport
@testable import TransportTesting

/// A connection at either end, each in a mode of its own.
@Suite("Server and client on different transports")
struct MixedTransportTests {
    private static let places = across(TransportMode.available, TransportMode.available, AddressFamily.allCases)

    /// Writes so many bytes of the stream as the connection becomes writable, then ends the output.
    private static func stream(_ count: Int, _ endless: EndlessPattern, from connection: RecordingConnection) {
        var written = 0
        connection.onWritable = { connection in
            while connection.isWritable, written < count {
                let piece = endless.piece(at: written, count: min(30_011, count - written))
                _ = piece.withUnsafeBytes { connection.write($0) }
                written += piece.count
            }
            if written == count, !connection.isOutputFinished { connection.finishOutput() }
        }
        connection.onWritable?(connection)
    }

    /// Compares what arrives with the stream; records where it differs.
    private static func compare(
        _ connection: RecordingConnection, with endless: EndlessPattern, _ differences: Recorder<Int>
    ) {
        var position = 0
        connection.recordsData = false
        connection.onInputEnded = { _ in }
        connection.onReceived = { _, bytes in
            if !endless.matches(bytes, at: position) { differences.record(position) }
            position += bytes.count
        }
    }

    @Test(
        "4 MiB in each direction at once arrive byte-exact, and each half ends by itself (netty 67)", arguments: places)
    func bothDirections(serverMode: TransportMode, mode: TransportMode, family: AddressFamily) throws {
        let total = 4 << 20
        let differences = Recorder<Int>()
        let (there, back) = (EndlessPattern(seed: 1), EndlessPattern(seed: 2))
        let server = try TestServer(serverMode, family.address) { connection in
            Self.compare(connection, with: there, differences)
            Self.stream(total, back, from: connection)
        }
        let client = try TestClient(mode, connectingTo: server.address) { connection in
            Self.compare(connection, with: back, differences)
            Self.stream(total, there, from: connection)
        }
        #expect(try client.recorder.waitForEnd() == .finished)
        #expect(try server.recorder.waitForEnd() == .finished)
        #expect(differences.all == [])
        #expect(try client.on { $0.bytesReceived } == UInt64(total))
        #expect(try server.first { $0.bytesReceived } == UInt64(total))
        try client.join()
        try server.join()
    }

    @Test("half-closed by the client, the connection goes on in the other direction (netty 67)", arguments: places)
    func halfClose(serverMode: TransportMode, mode: TransportMode, family: AddressFamily) throws {
        let server = try TestServer(serverMode, family.address) { $0.onInputEnded = { _ in } }
        let client = try TestClient(mode, connectingTo: server.address) { connection in
            connection.write("question")
            connection.finishOutput()
        }
        try server.recorder.wait { $0.last == .inputEnded }
        #expect(server.recorder.bytes == Array("question".utf8))
        try server.first { $0.write("answer") }
        #expect(try client.recorder.waitForBytes(6) == Array("answer".utf8))
        try server.first { $0.finishOutput() }
        #expect(try server.recorder.waitForEnd() == .finished)
        #expect(try client.recorder.waitForEnd() == .finished)
        try client.join()
        try server.join()
    }

    @Test(
        "abort() at one end is a reset at the other (netty 67)",
        arguments: across(
            TransportMode.available, TransportMode.available, [AddressFamily.ipv4, .ipv6]))
    func abort(serverMode: TransportMode, mode: TransportMode, family: AddressFamily) throws {
        let server = try TestServer(serverMode, family.address)
        let client = try TestClient(mode, connectingTo: server.address)
        // Not before the connector is done: it would tell of the reset instead.
        try client.on { _ in }
        try server.first { $0.abort() }
        #expect(try client.recorder.waitForEnd() == .reset)
        #expect(try server.recorder.waitForEnd() == .aborted)
        try client.join()
        try server.join()
    }

    @Test("a loop that stops ends its side, and the other side is told of it (netty 25, 67)", arguments: places)
    func stops(serverMode: TransportMode, mode: TransportMode, family: AddressFamily) throws {
        let server = try TestServer(serverMode, family.address)
        let client = try TestClient(mode, connectingTo: server.address)
        try client.on { $0.write("hello") }
        _ = try server.recorder.waitForBytes(5)
        try server.join()
        #expect(server.recorder.events == [.closed(.loopStopped)])
        #expect(try client.recorder.waitForEnd() == .finished)
        try client.join()
    }
}
