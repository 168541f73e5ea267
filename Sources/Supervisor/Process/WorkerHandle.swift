import CSocket
import Glibc
import Handoff
import Transport

/// A worker process as the supervisor's shell holds it: its process, its end of the hand-off socket, its standard error.
final class WorkerHandle {
    /// What an upgrade carries to the next program: the process stays our child, and the descriptors stay open.
    struct Inheritance: Codable {
        var worker: WorkerID
        var pid: pid_t
        var control: Int32
        var errors: Int32
        /// What was agreed for hand-off packets.
        var version: UInt8
        var sent: SequenceNumber
        /// What it has not been told yet.
        var notices: NoticeQueue?

        var descriptors: [Int32] { [control, errors] }
    }

    let worker: WorkerID
    let pid: pid_t
    let control: HandoffSocket
    let errors: WorkerErrorPipe
    /// The sequence number after the last socket sent to it.
    var sent: SequenceNumber
    /// What its socket had no room for.
    var notices = NoticeQueue()
    /// waitpid(2) has returned it: the number may belong to another process now.
    var isReaped = false
    /// It has said that it is done. What it has offered and heard no answer to it has let go of.
    var hasDrained = false
    private var isKilledByUs = false
    private let pidfd: Int32
    private var controlWatch: ReadinessWatch?
    private var processWatch: ReadinessWatch?

    /// Takes a process that was ours before an upgrade.
    convenience init(
        _ loop: EventLoop, _ inheritance: Inheritance, packetsWaiting: @escaping () -> Void,
        processEnded: @escaping () -> Void
    ) {
        let control = HandoffSocket(owning: inheritance.control)
        control.version = inheritance.version
        self.init(
            loop, inheritance.worker, pid: inheritance.pid, control, errors: inheritance.errors,
            packetsWaiting: packetsWaiting, processEnded: processEnded)
        sent = inheritance.sent
        notices = inheritance.notices ?? NoticeQueue()
    }

    /// Takes a process that was just spawned; its callbacks come on the loop. Cannot fail: nobody else would reap it.
    init(
        _ loop: EventLoop, _ worker: WorkerID, pid: pid_t, _ control: HandoffSocket, errors: Int32,
        packetsWaiting: @escaping () -> Void, processEnded: @escaping () -> Void
    ) {
        self.worker = worker
        self.pid = pid
        self.control = control
        sent = 0
        self.errors = WorkerErrorPipe(loop, owning: errors, passingOnTo: STDERR_FILENO)
        pidfd = csocket_pidfd_open(pid)
        controlWatch = ReadinessWatch(loop, fd: control.descriptor, ready: packetsWaiting) { [control] in
            // The watch may hold a poll on the descriptor until now: the object, which closes it, lives as long.
            withExtendedLifetime(control) {}
        }
        if pidfd >= 0 {
            processWatch = ReadinessWatch(loop, fd: pidfd, ready: processEnded) { [pidfd] in close(pidfd) }
        }
    }

    var inheritance: Inheritance {
        Inheritance(
            worker: worker, pid: pid, control: control.descriptor, errors: errors.descriptor, version: control.version,
            sent: sent, notices: notices.isEmpty ? nil : notices)
    }

    func signal(_ number: Int32) {
        guard !isReaped else { return }
        if number == SIGKILL { isKilledByUs = true }
        Glibc.kill(pid, number)
    }

    /// How it ended, in words: who is killed by somebody else may have been so for want of memory.
    func ending(_ status: ExitStatus) -> String {
        guard case .signal(SIGKILL, _) = status else { return "\(status)" }
        return "\(status) (\(isKilledByUs ? "from its supervisor" : "not from its supervisor: perhaps out of memory"))"
    }

    /// Resident memory in bytes (proc(5), statm); nil when it cannot be read.
    var residentBytes: UInt64? {
        let file = open("/proc/\(pid)/statm", O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var buffer = [UInt8](repeating: 0, count: 128)
        let count = read(file, &buffer, buffer.count)
        guard count > 0 else { return nil }
        let fields = String(decoding: buffer[..<count], as: UTF8.self).split(separator: " ")
        guard fields.count > 1, let pages = UInt64(fields[1]) else { return nil }
        return pages * UInt64(sysconf(Int32(_SC_PAGESIZE)))
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
