import Foundation
import Synchronization
import Testing
import Transport

@testable import Services

/// A frozen connection on its way between threads, as the supervisor would hold it between processes.
final class FrozenBox: Sendable {
    private let content: Mutex<FrozenConnection?>

    init(_ frozen: consuming FrozenConnection) { content = Mutex(frozen) }

    /// What another process would receive: the same, with copies of the sockets.
    func copy() -> FrozenConnection {
        content.withLock { content in
            switch content {
            case .some(let frozen):
                FrozenConnection(
                    listener: frozen.listener, peer: frozen.peer, acceptedAt: frozen.acceptedAt,
                    sockets: frozen.sockets.map { fcntl($0, F_DUPFD_CLOEXEC, 3) }, state: frozen.state)
            case .none:
                preconditionFailure("copied after it was let go of")
            }
        }
    }

    /// The state as the next service will read it.
    var state: FrozenState? { FrozenState(decoding: copy().state) }

    /// The former process closes its copies.
    func letGo() { content.withLock { _ = $0.take() } }
}

extension ServiceThread {
    /// Has the service freeze one connection and waits for it.
    func freezeOne() throws -> FrozenBox {
        let before = state.value.frozen.count
        #expect(try on { service, _ in service.freeze(1) } == 1)
        return try state.wait(for: "it to be frozen") { $0.frozen.count > before }.frozen[before]
    }

    /// Has the service thaw a copy, and only then lets go of the former process's, as the supervisor does.
    func thaw(_ box: FrozenBox) throws {
        #expect(try tryThaw(box))
        box.letGo()
    }

    /// As ``thaw(_:)``, but the original is kept.
    func tryThaw(_ box: FrozenBox) throws -> Bool {
        let state = state
        return try on { service, _ in
            guard service.thaw(box.copy()) else { return false }
            state.update { $0.served += 1 }
            return true
        }
    }

    /// Moves one connection from this process to `other`, which may be this one.
    @discardableResult
    func move(to other: ServiceThread<Running>) throws -> FrozenBox {
        let box = try freezeOne()
        try other.thaw(box)
        return box
    }
}

/// Sends as much as it is allowed, until it is told to stop; then says FIN.
struct Talker {
    private struct Orders {
        var allowed = 0
        var isToStop = false
    }

    private let orders = Watched(Orders())
    private let work: Background<[UInt8]>
    private static let allowance = 512 << 10

    init(_ peer: Peer, seed: Int) {
        let orders = orders
        work = Background {
            let data = pattern(32 << 20, seed: seed)
            var sent = 0
            while case let now = try orders.wait(for: "orders", until: { $0.allowed > sent || $0.isToStop }),
                sent < now.allowed
            {
                let next = min(sent + 10_007, now.allowed)
                try peer.send(Array(data[sent..<next]))
                sent = next
            }
            peer.finishOutput()
            return Array(data[..<sent])
        }
    }

    /// It may send half a megabyte more, from now on.
    func goOn() { orders.update { $0.allowed += Self.allowance } }

    /// Everything that has been sent, in the end.
    func stop() throws -> [UInt8] {
        orders.update { $0.isToStop = true }
        return try work.value()
    }
}

/// Receives until end of file.
struct Hearer {
    private let work: Background<[UInt8]>

    init(_ peer: Peer) {
        work = Background {
            var all: [UInt8] = []
            while case let piece = try peer.receive(64 << 10), !piece.isEmpty { all += piece }
            return all
        }
    }

    func everything() throws -> [UInt8] { try work.value() }
}

/// A socket whose other end a service is given.
func servedSocket() throws -> (peer: Peer, served: Int32) {
    let listening = try FakeUpstream()
    let peer = try Peer(to: listening.address)
    let accepted = try listening.accept()
    return (peer, fcntl(accepted.fd, F_DUPFD_CLOEXEC, 3))
}
