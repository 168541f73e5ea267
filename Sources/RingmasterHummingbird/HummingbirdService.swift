import HTTPTypes
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import RingmasterNIO
import ServiceLifecycle

/// A Hummingbird application as the service of a worker: its requests are answered on the worker's own loop and thread,
/// its services run in each worker.
///
/// Of the application are used: its responder, server name, services and processes before the start. Address, event loop
/// group and server builder are the worker's and `connections`' affair. Handlers that block hold up their worker; clients
/// (AsyncHTTPClient, PostgresNIO, …) keep the event loops of their own that they have by default.
public enum HummingbirdService {
    /// Serves a router.
    ///
    /// - Parameters:
    ///   - connections: what connections speak.
    ///   - descriptorsPerConnection: 1, and more when requests open files or connections.
    ///   - services: run in each worker, from its start to the end of its last connection. When one fails, or ends
    ///     before it was told to, the worker does too, and another takes its place.
    public static func make<Context: RequestContext & InitializableFromSource<ApplicationRequestContextSource>>(
        router: Router<Context>, connections: HTTPConnections = .http1(), descriptorsPerConnection: Int = 2,
        services: [any ServiceLifecycle.Service] = [], logger: Logger
    ) -> NIOService where Context.Source == ApplicationRequestContextSource {
        make(
            RouterApplication(responder: router.buildResponder(), services: services, logger: logger),
            connections: connections,
            descriptorsPerConnection: descriptorsPerConnection)
    }

    /// Serves an application.
    ///
    /// - Parameters:
    ///   - connections: what connections speak.
    ///   - descriptorsPerConnection: 1, and more when requests open files or connections.
    public static func make<App: ApplicationProtocol>(
        _ app: App, connections: HTTPConnections = .http1(), descriptorsPerConnection: Int = 2
    ) -> NIOService {
        let running = RunningApplication(app, connections)
        let service = NIOService(
            descriptorsPerConnection: descriptorsPerConnection,
            starting: { loop in
                loop.makeFutureWithTask { try await running.start(on: loop) }
            },
            stopping: { loop in
                loop.makeFutureWithTask { await running.stop() }
            },
            canMove: connections.canMove ? HTTP1Connection.isAtRest : nil,
            initializer: running.accept)
        running.isServed(by: service)
        return service
    }
}

/// A router as an application. Hummingbird's own would start threads for an event loop group that nobody needs.
private struct RouterApplication<Context: RequestContext & InitializableFromSource<ApplicationRequestContextSource>>:
    ApplicationProtocol
where Context.Source == ApplicationRequestContextSource {
    let responder: RouterResponder<Context>
    let services: [any ServiceLifecycle.Service]
    let logger: Logger
}
