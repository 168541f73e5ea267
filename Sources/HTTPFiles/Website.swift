import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import Transport

/// A directory served over HTTP: Hummingbird's file middleware, with what goes around it.
public struct Website: Sendable {
    /// The directory.
    public var root: String
    /// Lists directories that have no index.html.
    public var lists = false
    /// Logs each request at level info.
    public var logsRequests = false
    /// Bytes of a request's body at most; they are dropped. A request that announces more is refused.
    public var bodyMax = 1024 * 1024

    /// Serves `root`, without listing and without a log of requests.
    public init(root: String) {
        self.root = root
    }

    /// Whether the root can be served.
    ///
    /// - Throws: as ``router(logger:)``.
    public func check() throws(SystemError) { _ = try SiteRoot(root) }

    /// What answers requests.
    ///
    /// - Throws: `SystemError` of the root: ENOENT, ENOTDIR, EACCES; ENOSYS or EPERM where openat2(2) is not allowed.
    public func router(logger: Logger) throws -> Router<SiteContext> {
        let site = try SiteRoot(root)
        let router = Router(context: SiteContext.self)
        if logsRequests { router.add(middleware: AccessLog(logger: logger)) }
        router.add(middleware: RequestRules(bodyMax: bodyMax, logger: logger))
        router.add(middleware: Directories(root: site, lists: lists))
        router.add(middleware: Precompressed(root: site))
        router.add(middleware: Ranges())
        router.add(middleware: Files(root: site))
        return router
    }
}

/// What is known of a request besides itself.
public struct SiteContext: RemoteAddressRequestContext {
    /// Hummingbird's own.
    public var coreContext: CoreRequestContextStorage
    /// The client's address; nil where a connection has none.
    public let remoteAddress: NIOCore.SocketAddress?

    /// Of the request's channel.
    public init(source: ApplicationRequestContextSource) {
        coreContext = .init(source: source)
        remoteAddress = source.channel.remoteAddress
    }
}
