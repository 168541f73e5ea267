import CSocket
import Glibc
import Handoff
import Transport

/// A child process in which the program file that is to be upgraded to checks itself: that it starts here, understands
/// the command line and the configuration, and can go on from the state of the running supervisor.
///
/// It has to say so. A file that merely ends well, another program's by mistake, must not become the supervisor.
public final class ProgramCheck {
    /// The environment variable that asks for it.
    public static let variable = "RINGMASTER_INTERNAL_CHECK"
    /// Where the child finds the image of the running supervisor.
    public static let imageDescriptor: Int32 = 3
    /// What a child that is the program of this name writes to standard output, and nothing else, when all is well.
    public static func consent(of name: String) -> String { "\(name) can go on from here" }
    /// How long it may take.
    static let timeoutDefault: Duration = .seconds(30)

    let pid: pid_t
    private let name: String
    private let path: String
    /// What the path named when the check began.
    private let file: FileIdentity?
    private let timeout: Duration
    private let output: WorkerErrorPipe
    private let errors: WorkerErrorPipe
    private let pidfd: Int32
    private var watch: ReadinessWatch?
    private var timer: LoopTimer?
    private var isTimedOut = false
    private let finished: (String?) -> Void

    /// Starts the check of `path`.
    ///
    /// - Parameters:
    ///   - name: the program that it must be.
    ///   - file: a descriptor of the program, when it is not to be found by its path any more. The child closes all that it
    ///     is not given, so it is given this one, and is executed by it.
    ///   - ended: is called when the child is to be reaped.
    ///   - finished: is given nil, or the sentence that is wrong, after ``reaped(_:)``.
    init(
        _ loop: EventLoop, _ launcher: WorkerLauncher, name: String, path: String, file program: Int32? = nil,
        image: Int32,
        timeout: Duration = timeoutDefault, ended: @escaping () -> Void, finished: @escaping (String?) -> Void
    ) throws {
        self.name = name
        self.path = path
        self.timeout = timeout
        self.finished = finished
        file = FileIdentity(path)
        let input = try SystemError.check(open("/dev/null", O_RDONLY | O_CLOEXEC), "open")
        defer { close(input) }
        let (outputReading, outputWriting) = try WorkerErrorPipe.pipe()
        defer { close(outputWriting) }
        do {
            let (errorsReading, errorsWriting) = try WorkerErrorPipe.pipe()
            defer { close(errorsWriting) }
            do {
                var inherited = [input, outputWriting, errorsWriting, image]
                if let program { inherited.append(program) }
                pid = try launcher.spawn(
                    program == nil ? path : "/proc/self/fd/\(inherited.count - 1)", adding: "\(Self.variable)=1",
                    inherited, from: STDIN_FILENO)
            } catch {
                close(errorsReading)
                throw error
            }
            errors = WorkerErrorPipe(loop, owning: errorsReading, passingOnTo: nil)
        } catch {
            close(outputReading)
            throw error
        }
        output = WorkerErrorPipe(loop, owning: outputReading, passingOnTo: nil)
        pidfd = csocket_pidfd_open(pid)
        if pidfd >= 0 {
            watch = ReadinessWatch(loop, fd: pidfd, ready: ended) { [pidfd] in close(pidfd) }
        }
        timer = LoopTimer(loop) { [unowned self] in
            isTimedOut = true
            cancel()
        }
        timer?.arm(after: timeout)
    }

    /// Nobody wants to know any more. Ends the child, and the processes that it has started.
    func cancel() {
        kill(-pid, SIGKILL)
    }

    /// The child has ended.
    func reaped(_ status: ExitStatus) {
        timer?.cancel()
        watch?.stop()
        output.finish()
        errors.finish()
        finished(problem(status))
    }

    static func replaced(_ path: String) -> String { "\(path) was replaced while it was checked: upgrade again" }

    private func problem(_ status: ExitStatus) -> String? {
        if isTimedOut { return "its check took more than \(timeout)" }
        guard status == .code(0) else {
            let words = errors.text.split(separator: "\n").last.map(String.init) ?? "no reason given"
            // The program itself gives its reasons under its name.
            let isForeign = if case .code = status { !words.hasPrefix("\(name): ") } else { false }
            return "its check ended with \(status): \(words)"
                + (isForeign ? " (is \(path) another program than \(name)?)" : "")
        }
        guard output.text == Self.consent(of: name) else {
            return "it did not say that it can go on, as \(name) does: is \(path) another program?"
        }
        guard file != nil, FileIdentity(path) == file else {
            return Self.replaced(path)
        }
        return nil
    }
}

/// Which file a path names, and in which state.
struct FileIdentity: Equatable {
    private let device: dev_t
    private let inode: ino_t
    private let size: off_t
    private let seconds: Int
    private let nanoseconds: Int

    init?(_ path: String) {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        device = status.st_dev
        inode = status.st_ino
        size = status.st_size
        seconds = status.st_mtim.tv_sec
        nanoseconds = status.st_mtim.tv_nsec
    }
}
