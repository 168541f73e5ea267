import CSocket
import Glibc
import Handoff
import Transport

/// A worker process as the supervisor's shell holds it: its process, its end of the hand-off socket, the watches on both.
final class WorkerHandle {
    let worker: WorkerID
    let pid: pid_t
    let control: HandoffSocket
    /// waitpid(2) has returned it: the number may belong to another process now.
    var isReaped = false
    private let pidfd: Int32
    private var controlWatch: ReadinessWatch?
    private var processWatch: ReadinessWatch?

    /// Takes a process that was just spawned; its callbacks come on the loop.
    init(
        _ loop: EventLoop, worker: WorkerID, pid: pid_t, control: HandoffSocket,
        packetsWaiting: @escaping () -> Void, processEnded: @escaping () -> Void
    ) {
        self.worker = worker
        self.pid = pid
        self.control = control
        pidfd = csocket_pidfd_open(pid)
        controlWatch = ReadinessWatch(loop, fd: control.descriptor, ready: packetsWaiting) { [control] in
            // The watch may hold a poll on the descriptor until now: the object, which closes it, lives as long.
            withExtendedLifetime(control) {}
        }
        if pidfd >= 0 {
            processWatch = ReadinessWatch(loop, fd: pidfd, ready: processEnded) { [pidfd] in close(pidfd) }
        }
    }

    func kill() {
        if !isReaped { Glibc.kill(pid, SIGKILL) }
    }

    /// The process is reaped: lets go of everything.
    func release() {
        controlWatch?.stop()
        processWatch?.stop()
        controlWatch = nil
        processWatch = nil
    }
}

extension ExitStatus {
    /// Reads what waitpid(2) stored.
    init(waitStatus: Int32) {
        let signal = waitStatus & 0x7f
        self =
            signal == 0
            ? .code((waitStatus >> 8) & 0xff) : .signal(signal, coreDumped: waitStatus & 0x80 != 0)
    }
}
