import Glibc
import Transport

/// Looks host names up on a thread of its own, since getaddrinfo(3) blocks for as long as the name server likes.
///
/// One name at a time, in the order asked. The thread ends after ``stop()``, or when the resolver is let go.
public final class Resolver: Sendable {
    /// Finds the addresses of a host, with the port set; may block. ``HostLookup/addresses(of:port:)`` outside tests.
    public typealias Lookup = @Sendable (_ host: String, _ port: UInt16) throws(HostLookupError) -> [SocketAddress]
    /// Takes the answer on the resolver's thread: hop to a loop before touching anything of it. Never called twice.
    public typealias Completion = @Sendable (Result<[SocketAddress], HostLookupError>) -> Void

    /// How many names wait, behind the one being looked up, where nothing else is said.
    public static let waitingMaxDefault = 64

    private let queue: LookupQueue

    /// Starts the thread. Fails with the error number of pthread_create(3) when there cannot be one more.
    public init(
        waitingMax: Int = waitingMaxDefault, lookup: @escaping Lookup = HostLookup.addresses
    ) throws(ResolverStartError) {
        precondition(waitingMax > 0)
        queue = LookupQueue(waitingMax: waitingMax, lookup: lookup)
        let code = queue.startThread()
        guard code == 0 else { throw ResolverStartError(code: code) }
    }

    deinit {
        queue.stop()
    }

    /// Asks for the addresses of `host`. Any thread; never blocks.
    ///
    /// When this throws, because too many names wait or the resolver was stopped, `completion` is not called.
    public func resolve(
        host: String, port: UInt16, completion: @escaping Completion
    ) throws(HostLookupError) {
        try queue.add(LookupQueue.Request(host: host, port: port, completion: completion))
    }

    /// Looks nothing more up. Any thread, more than once; never blocks.
    ///
    /// Names still waiting get ``HostLookupError/stopped(host:)``. The name being looked up keeps its thread until the
    /// system answers, then gets the answer: so completions may come after this returns.
    public func stop() {
        queue.stop()
    }
}

/// The thread of a ``Resolver`` could not be started.
public struct ResolverStartError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The error number of pthread_create(3).
    public let code: Int32

    /// One line: what failed and why.
    public var description: String {
        "cannot start the thread that looks up host names: \(String(cString: strerror(code)))"
    }
}
