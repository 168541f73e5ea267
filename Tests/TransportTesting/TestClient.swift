import Testing

@testable import Transport

/// A connection that a connector made, on a loop of its own.
final class TestClient: Sendable {
    let thread: LoopThread
    /// What happens to the connection.
    let recorder = Recorder<Happening>()
    private let connections = Recorder<ConnectionBox>()

    init(
        _ mode: TransportMode, connectingTo address: SocketAddress,
        setUp: @escaping @Sendable (RecordingConnection) -> Void = { _ in }
    ) throws {
        thread = try LoopThread(mode)
        let (recorder, connections) = (recorder, connections)
        try thread.on { loop -> Void in
            Connector.connect(loop, to: address, timeout: .seconds(10)) { outcome in
                guard case .success(let fd) = outcome else {
                    Issue.record("\(outcome)")
                    return
                }
                let connection = RecordingConnection(loop, fd: fd, recorder)
                setUp(connection)
                connection.start()
                connections.record(ConnectionBox(connection))
            }
        }
    }

    /// Runs `body` on the loop with the connection, waiting for that.
    @discardableResult
    func on<Value: Sendable>(_ body: @escaping @Sendable (RecordingConnection) -> Value) throws -> Value {
        let box = try connections.wait { !$0.isEmpty }[0]
        return try thread.on { _ in body(box.connection) }
    }

    func join() throws { try thread.join() }
}
