import CSocket
import Glibc

/// A loop on its way to its thread.
final class GroupThread {
    let remote: EventLoopRemote
    private var loop: EventLoop?
    private let index: Int
    private let name: String
    private let ends: GroupEnds

    init(_ loop: EventLoop, index: Int, name: String, ends: GroupEnds) {
        self.loop = loop
        remote = loop.remote
        self.index = index
        self.name = Self.name(name, index: index)
        self.ends = ends
    }

    /// `prefix-index`, the prefix cut so that it fits what the kernel keeps of a thread's name (prctl(2)).
    static func name(_ prefix: String, index: Int) -> String {
        let suffix = "-\(index)"
        var prefix = prefix
        while prefix.utf8.count + suffix.utf8.count > 15, !prefix.isEmpty { prefix.removeLast() }
        return prefix + suffix
    }

    static func start(_ thread: GroupThread) throws(SystemError) -> pthread_t {
        let argument = Unmanaged.passRetained(thread)
        var id = pthread_t()
        let code = pthread_create(
            &id, nil,
            { argument in
                guard let argument else { preconditionFailure("a thread is started with its loop") }
                Unmanaged<GroupThread>.fromOpaque(argument).takeRetainedValue().run()
                return nil
            }, argument.toOpaque())
        guard code == 0 else {
            argument.release()
            throw SystemError("pthread_create", code: code)
        }
        return id
    }

    private func run() {
        _ = csocket_name_thread(name)
        // Gone before its end is told.
        ends.record(runLoop(), index: index)
    }

    private func runLoop() -> EventLoopGroup.End {
        guard let loop else { preconditionFailure("a thread runs its loop once") }
        self.loop = nil
        do throws(SystemError) {
            return .success(try loop.run())
        } catch {
            return .failure(error)
        }
    }
}
