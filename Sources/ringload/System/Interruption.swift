import CSocket
import Glibc
import Transport

/// SIGINT and SIGTERM: the first ends the run early, with its results; the second ends the process at once.
final class Interruption {
    private let fd: Int32
    private var watch: ReadinessWatch?
    private var count = 0

    /// Blocks the signals in the calling thread: to be made before any other thread exists.
    init() throws(LoadError) {
        let signals = [SIGINT, SIGTERM]
        fd = csocket_signalfd(signals, signals.count)
        guard fd >= 0 else { throw LoadError(.system, "signalfd: \(String(cString: strerror(-fd)))") }
    }

    func watch(_ run: LoadRun) {
        watch = ReadinessWatch(run.loop, fd: fd) { [unowned self, unowned run] in
            while csocket_signalfd_next(fd) >= 0 {
                count += 1
                if count > 1 {
                    Terminal.complain("ended without a result; send one signal only, and wait up to 5 s, to have it")
                    _exit(1)
                }
                Terminal.complain("ending early; a second signal ends at once")
                run.interrupt()
            }
        }
    }

    deinit {
        close(fd)
    }
}
