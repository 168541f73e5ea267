import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import RingmasterHummingbird
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
    /// - Throws: as ``answers(logger:)``.
    public func check() throws(SystemError) { _ = try SiteRoot(root) }

    /// What answers requests.
    ///
    /// - Throws: as ``answers(logger:)``.
    public func router(logger: Logger) throws(SystemError) -> Router<SiteContext> {
        router(try SiteRoot(root), logger)
    }

    /// What answers requests, and what answers those of HTTP/1.1 that it can answer at once, in the same way.
    ///
    /// - Throws: `SystemError` of the root: ENOENT, ENOTDIR, EACCES; ENOSYS or EPERM where openat2(2) is not allowed.
    public func answers(
        logger: Logger
    ) throws(SystemError) -> (router: Router<SiteContext>, immediate: ImmediateResponder) {
        let site = try SiteRoot(root)
        let files = PlainFiles(root: site, log: requestLog(logger))
        return (router(site, logger), { files.answer($0, $1) })
    }

    private func requestLog(_ logger: Logger) -> RequestLog? { logsRequests ? RequestLog(logger: logger) : nil }

    private func router(_ site: SiteRoot, _ logger: Logger) -> Router<SiteContext> {
        let router = Router(context: SiteContext.self)
        if let log = requestLog(logger) { router.add(middleware: AccessLog(log: log)) }
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
