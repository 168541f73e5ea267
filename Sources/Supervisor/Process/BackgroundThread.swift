import CSocket
import Glibc
import Transport

/// A thread for one piece of work that may wait for long.
enum BackgroundThread {
    private final class Work {
        let body: @Sendable () -> Void

        init(_ body: @escaping @Sendable () -> Void) {
            self.body = body
        }
    }

    /// Starts a detached thread that does `body` and ends (pthread_create(3)). It begins with all signals of the caller's
    /// mask blocked, so the process's signals stay with the signalfd.
    static func run(_ body: @escaping @Sendable () -> Void) throws(SystemError) {
        let argument = Unmanaged.passRetained(Work(body))
        var thread = pthread_t()
        let code = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { preconditionFailure("a thread is started with its work") }
                Unmanaged<Work>.fromOpaque(argument).takeRetainedValue().body()
                return nil
            }, argument.toOpaque())
        guard code == 0 else {
            argument.release()
            throw SystemError("pthread_create", code: code)
        }
        pthread_detach(thread)
    }
}
