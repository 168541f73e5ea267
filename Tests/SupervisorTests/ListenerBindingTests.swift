import Foundation
import Handoff
import Testing
import Transport

@testable import Supervisor
@testable import TransportTesting

@Suite("binding listeners")
struct ListenerBindingTests {
    private let path = "/tmp/ringmaster-\(UUID().uuidString.prefix(8)).sock"

    private var plan: ListenerPlan { ListenerPlan(address: .unix(path: path), kind: "echo", backlog: 4) }

    private func refusal(_ plan: ListenerPlan) -> PlanError? {
        #expect(throws: PlanError.self) { close(try ListenerBinding.bind(plan)) }
    }

    /// As a crash leaves it behind. A child that another test forks at the moment listens for as long as it has not executed
    /// its program.
    private func leaveBehind(_ plan: ListenerPlan) throws {
        close(try ListenerBinding.bind(plan))
        try eventually("nobody to listen") { !canConnect(plan.address) }
    }

    private func canConnect() -> Bool { canConnect(plan.address) }

    private func canConnect(_ address: SocketAddress) -> Bool {
        let fd = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(fd) }
        return address.withSockaddr { connect(fd, $0, $1) } == 0
    }

    @Test("a path that a crash has left behind is taken over")
    func stale() throws {
        defer { unlink(path) }
        try leaveBehind(plan)
        try #require(access(path, F_OK) == 0, "closing leaves the path")
        let fd = try ListenerBinding.bind(plan)
        defer { close(fd) }
        #expect(canConnect())
    }

    @Test("a path on which a server answers is refused, and the server goes on")
    func live() throws {
        defer { unlink(path) }
        let fd = try ListenerBinding.bind(plan)
        defer { close(fd) }
        let error = refusal(plan)
        #expect(error?.exitCode == .cannotBind)
        #expect(error?.sentence.contains(path) == true && error?.sentence.contains("a server answers there") == true)
        #expect(canConnect())
    }

    @Test("a server whose queue is full answers too")
    func full() throws {
        defer { unlink(path) }
        var plan = plan
        plan.backlog = 1
        let server = try ListenerBinding.bind(plan)
        defer { close(server) }
        var clients: [Int32] = []
        defer { for client in clients { close(client) } }
        let address = plan.address
        while clients.count < 10 {
            let client = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
            clients.append(client)
            if address.withSockaddr({ connect(client, $0, $1) }) < 0 { break }
        }
        try #require(clients.count < 10, "the queue is full")
        #expect(refusal(plan)?.exitCode == .cannotBind)
        #expect(access(path, F_OK) == 0)
    }

    @Test("a file that is no socket, and a socket of another kind, stay where they are")
    func otherFiles() throws {
        defer { unlink(path) }
        try Data("precious".utf8).write(to: URL(filePath: path))
        #expect(refusal(plan)?.sentence.contains("not a socket") == true)
        #expect(try String(contentsOfFile: path, encoding: .utf8) == "precious")
        unlink(path)
        let datagram = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
        defer { close(datagram) }
        try #require(plan.address.withSockaddr { bind(datagram, $0, $1) } == 0)
        #expect(refusal(plan)?.exitCode == .cannotBind)
        #expect(access(path, F_OK) == 0)
    }

    @Test("a path that another process has locked is not taken over; a lock on the directory keeps nobody from it")
    func locked() throws {
        defer { unlink(path) }
        try leaveBehind(plan)
        do {
            let lock = try PathLock(path)
            #expect(refusal(plan)?.exitCode == .cannotBind)
            withExtendedLifetime(lock) {}
        }
        let directory = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        defer { close(directory) }
        try #require(flock(directory, LOCK_EX | LOCK_NB) == 0)
        close(try ListenerBinding.bind(plan))
        #expect(access(PathLock.fileName(of: path), F_OK) < 0)
    }

    @Test("undoing closes the sockets and removes their paths")
    func undo() throws {
        let fd = try ListenerBinding.bind(plan)
        ListenerBinding.undo([fd])
        #expect(access(path, F_OK) < 0)
        #expect(fcntl(fd, F_GETFD) < 0)
    }

    @Test("an address in use, one of nobody, and a directory that is not there say how to mend it")
    func remedies() throws {
        let fd = try ListenerBinding.bind(ListenerPlan(address: .ipv4(0x7f00_0001, port: 0), kind: "echo", backlog: 1))
        defer { close(fd) }
        let taken = try #require(Socket.localAddress(of: fd))
        #expect(refusal(ListenerPlan(address: taken, kind: "echo", backlog: 1))?.sentence.contains("ss -ltnp") == true)
        let foreign = SocketAddress.ipv4(0xc000_0201, port: 7000)
        #expect(refusal(ListenerPlan(address: foreign, kind: "echo", backlog: 1))?.sentence.contains("ip addr") == true)
        let nowhere = SocketAddress.unix(path: "/nowhere/at/all")
        #expect(
            refusal(ListenerPlan(address: nowhere, kind: "echo", backlog: 1))?.sentence.contains("directory") == true)
    }

    @Test(
        "a listener written down is the same when read again",
        arguments: [
            SocketAddress.ipv4(1, port: 2), .ipv6(high: 3, low: .max, port: 4, scope: 5), .unix(path: "/a \"b"),
        ])
    func coding(address: SocketAddress) throws {
        let plan = ListenerPlan(address: address, kind: "proxy", backlog: 6)
        #expect(try JSONDecoder().decode(ListenerPlan.self, from: JSONEncoder().encode(plan)) == plan)
    }
}
