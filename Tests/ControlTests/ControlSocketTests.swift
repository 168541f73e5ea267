import Foundation
import Testing

@testable import Supervisor
@testable import Transport
@testable import TransportTesting

@Suite("control socket: its name")
struct ControlSocketTests {
    private func mode(_ path: String) -> mode_t? {
        var status = stat()
        return lstat(path, &status) == 0 ? status.st_mode : nil
    }

    /// A socket's path as a crash leaves it behind. A child that another test forks at the moment listens for as long as it
    /// has not executed its program.
    private func leaveBehind(_ path: String) throws {
        close(try ControlSocket.listen(at: path).descriptor)
        try eventually("nobody to listen") { (try? Peer(connectingTo: .unix(path: path))) == nil }
    }

    /// Why there is none.
    private func refusal(_ path: String) -> String {
        do throws(ControlSocketError) {
            close(try ControlSocket.listen(at: path).descriptor)
            return "none"
        } catch {
            return error.description
        }
    }

    @Test("nobody but its owner may write to it, whatever the umask", arguments: [0, 0o022, 0o077])
    func mode(umask mask: UInt32) async {
        await #expect(processExitsWith: .success) { [mask] in
            let directory = try ScratchDirectory()
            umask(mask)
            _ = try ControlSocket.listen(at: directory.file())
            var status = stat()
            #expect(lstat(directory.file(), &status) == 0 && status.st_mode == S_IFSOCK | 0o600)
        }
    }

    @Test("what a crashed supervisor left is replaced")
    func stale() throws {
        let path = try ScratchDirectory()
        try leaveBehind(path.file())
        #expect(mode(path.file()) != nil)
        let socket = try ControlSocket.listen(at: path.file())
        defer { close(socket.descriptor) }
        _ = try controlClient(path.file())
    }

    @Test("of several supervisors that find the same stale socket, exactly one takes it over")
    func race() throws {
        for _ in 0..<10 {
            let directory = try ScratchDirectory()
            let path = directory.file()
            try leaveBehind(path)
            let taken = Recorder<Int32>()
            DispatchQueue.concurrentPerform(iterations: 8) { _ in
                if let socket = try? ControlSocket.listen(at: path) { taken.record(socket.descriptor) }
            }
            #expect(taken.all.count == 1)
            _ = try controlClient(path)
            for descriptor in taken.all { close(descriptor) }
        }
    }

    @Test("while another looks for a stale socket at the path, nothing is done, and its lock leaves no file behind")
    func locked() throws {
        let directory = try ScratchDirectory()
        let path = directory.file()
        try leaveBehind(path)
        do {
            let lock = try PathLock(path)
            #expect(refusal(path).contains("holds \(path).lock locked: try again"))
            #expect(mode(path) != nil)
            withExtendedLifetime(lock) {}
        }
        #expect(refusal(path) == "none")
        #expect(mode("\(path).lock") == nil)
    }

    @Test("whoever locks the directory keeps nobody from it")
    func lockedDirectory() throws {
        let directory = try ScratchDirectory()
        let lock = open(directory.path, O_RDONLY | O_CLOEXEC)
        defer { close(lock) }
        #expect(flock(lock, LOCK_EX) == 0)
        #expect(refusal(directory.file()) == "none")
    }

    @Test("a socket that somebody listens on is refused with what to do, and goes on; also when its queue is full")
    func live() throws {
        let directory = try ScratchDirectory()
        let path = directory.file()
        let other = try Socket.listen(.unix(path: path), backlog: 0)
        defer { close(other) }
        var clients: [Peer] = []
        for _ in 0..<2 {
            let refusal = refusal(path)
            #expect(refusal.contains("a running supervisor answers at the control socket \(path)"))
            #expect(refusal.contains("its stop command, with the same --control"))
            // What looked for an answer is the queue's first; this one fills it.
            close(accept(other, nil, nil))
            clients.append(try controlClient(path))
        }
    }

    @Test("what is no socket is left alone")
    func otherFiles() throws {
        let directory = try ScratchDirectory()
        let file = directory.file("file")
        let link = directory.file("link")
        try Data("precious".utf8).write(to: URL(filePath: file))
        #expect(symlink(file, link) == 0)
        for path in [file, link, directory.path] { #expect(refusal(path).contains("\(path) exists and is no socket")) }
        #expect(try String(contentsOfFile: file, encoding: .utf8) == "precious")
    }

    @Test("a path that cannot be is refused with what to give")
    func badPaths() throws {
        let directory = try ScratchDirectory()
        #expect(refusal("").contains("0 bytes: give a path of 1 to 107"))
        #expect(refusal("/" + String(repeating: "x", count: 107)).contains("108 bytes"))
        #expect(refusal("@abstract").contains("open to everybody"))
        #expect(refusal(directory.file("none/control")).contains("No such file or directory"))
    }

    @Test("its name is removed at the end, unless it is another's by now")
    func removal() throws {
        let directory = try ScratchDirectory()
        let path = directory.file()
        let first = try ControlSocket.listen(at: path)
        defer { close(first.descriptor) }
        unlink(path)
        let second = try ControlSocket.listen(at: path)
        defer { close(second.descriptor) }
        first.removeName()
        #expect(mode(path) != nil)
        second.removeName()
        #expect(mode(path) == nil)
    }
}
