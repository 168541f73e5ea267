import Handoff
import Logging

/// What a supervisor is started with.
public struct SupervisorSetup {
    /// What it serves at first.
    public var plan: SupervisorPlan
    /// How the kernel is reached, by it and by its workers.
    public var loopKind: LoopKind
    /// Starts workers.
    public var launcher: WorkerLauncher
    /// Where the log goes.
    public var logger: Logger
    /// Makes the plan anew.
    public var reload: ReloadSource
    /// Where the control socket is to be; nil for none.
    public var controlPath: String?
    /// This program's file, by the name that an upgrade finds the new program under.
    public var programPath: String
    /// This program's name: an upgrade goes to a program of the same name only.
    public var name: String
    /// This program's version, for whoever asks.
    public var version: String

    /// A setup.
    public init(
        plan: SupervisorPlan, loopKind: LoopKind, launcher: WorkerLauncher, logger: Logger,
        reload: @escaping ReloadSource, controlPath: String?, programPath: String, name: String,
        version: String
    ) {
        self.plan = plan
        self.loopKind = loopKind
        self.launcher = launcher
        self.logger = logger
        self.reload = reload
        self.controlPath = controlPath
        self.programPath = programPath
        self.name = name
        self.version = version
    }
}
