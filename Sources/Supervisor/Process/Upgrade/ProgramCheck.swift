import CSocket
import Glibc
import Handoff
import Transport

/// A child process in which the program file that is to be upgraded to checks itself: that it starts here, understands
/// the command line and the configuration, and can go on from the state of the running supervisor.
public final class ProgramCheck {
    /// The environment variable that asks for it.
    public static let variable = "RINGMASTER_INTERNAL_CHECK"
    /// Where the child finds the image of the running supervisor.
    public static let imageDescriptor: Int32 = 3
    /// How long it may take.
    static let timeout: Duration = .seconds(30)

    let pid: pid_t
    private let errors: WorkerErrorPipe
    private let pidfd: Int32
    private var watch: ReadinessWatch?
    private var timer: LoopTimer?
    private var isTimedOut = false
    private let finished: (String?) -> Void

    /// Starts the check of `path`.
    ///
    /// - Parameters:
    ///   - ended: is called when the child is to be reaped.
    ///   - finished: is given nil, or the sentence that is wrong, after ``reaped(_:)``.
    init(
        _ loop: EventLoop, _ launcher: WorkerLauncher, path: String, image: Int32, ended: @escaping () -> Void,
        finished: @escaping (String?) -> Void
    ) throws {
        self.finished = finished
        let (reading, writing) = try WorkerErrorPipe.pipe()
        defer { close(writing) }
        errors = WorkerErrorPipe(loop, owning: reading, passesOn: false)
        do {
            pid = try launcher.spawn(path, adding: "\(Self.variable)=1", [writing, image])
        } catch {
            errors.finish()
            throw error
        }
        pidfd = csocket_pidfd_open(pid)
        if pidfd >= 0 {
            watch = ReadinessWatch(loop, fd: pidfd, ready: ended) { [pidfd] in close(pidfd) }
        }
        timer = LoopTimer(loop) { [unowned self] in
            isTimedOut = true
            kill(pid, SIGKILL)
        }
        timer?.arm(after: Self.timeout)
    }

    /// Nobody wants to know any more.
    func cancel() {
        kill(pid, SIGKILL)
    }

    /// The child has ended.
    func reaped(_ status: ExitStatus) {
        timer?.cancel()
        watch?.stop()
        errors.finish()
        if status == .code(0) { return finished(nil) }
        if isTimedOut { return finished("its check took more than \(Self.timeout.components.seconds) s") }
        let words = errors.text.split(separator: "\n").last.map(String.init) ?? "no reason given"
        finished("its check ended with \(status): \(words)")
    }
}
