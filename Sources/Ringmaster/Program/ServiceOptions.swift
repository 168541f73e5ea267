import ArgumentParser
import Transport

/// A service by its name, with its options: how the command line and a configuration file know it, and how a worker makes
/// it.
///
/// What it declares with the argument parser's `@Option` and `@Flag` is an option in all three places: for a property
/// `idleTimeout` the command line has `--idle-timeout`, the environment `RINGMASTER_IDLE_TIMEOUT`, and a listener in a
/// configuration file the key `idle-timeout`. Names of their own (`.customLong`) are for the command line alone.
/// `validate()` is to check each value that is given, and to say nothing of what is missing.
///
/// The supervisor and each worker have an instance of their own, made of the same arguments or the same file.
public protocol ServiceOptions: ParsableArguments, Sendable {
    /// The service's name: the command that serves it, and `service:` in a configuration file, which need not say it of the
    /// only one.
    static var kind: String { get }

    /// What it does, in one line of help.
    static var abstract: String { get }

    /// More help; may have several paragraphs.
    static var discussion: String { get }

    /// Where it listens when the command line does not say, as `--listen` would. By default nowhere: it must be said. A
    /// configuration file says it always.
    static var listenDefault: [String] { get }

    /// Descriptors that one connection needs in a worker at most, as ``Service/descriptorsPerConnection`` of the service that
    /// is made. By default 1, the connection's own.
    var descriptorsPerConnection: Int { get }

    /// Checks that nothing is missing. In every process, before it does anything.
    ///
    /// - Throws: what to give, such as `--upstream is missing: say where to connect to`.
    func checkComplete() throws(CommandError)

    /// Checks what takes time, such as that host names can be looked up. In the supervisor when it starts, at each reload,
    /// and when an upgrade is checked; may block. Opens nothing for good.
    ///
    /// - Throws: what is in the way.
    func checkReachable() throws(CommandError)

    /// Makes the service. Called in each worker, on the thread that will run its loop, before there is one: the place for
    /// what each worker has of its own. What needs the loop, or takes time, belongs into ``Service/start(_:)``; what is
    /// to be done at the end into ``Service/stop(_:)``.
    ///
    /// Listeners of a configuration file for which the same options are written share one service.
    ///
    /// - Throws: an error whose description tells the operator what is wrong. The worker ends with exit code 4.
    func makeService(_ context: ServiceContext) throws -> any Service
}

extension ServiceOptions {
    /// Nothing more to say.
    public static var abstract: String { "" }

    /// Nothing more to say.
    public static var discussion: String { "" }

    /// Nowhere.
    public static var listenDefault: [String] { [] }

    /// The connection's own.
    public var descriptorsPerConnection: Int { 1 }

    /// Nothing can be missing.
    public func checkComplete() throws(CommandError) {}

    /// Needs nothing that could be out of reach.
    public func checkReachable() throws(CommandError) {}
}
