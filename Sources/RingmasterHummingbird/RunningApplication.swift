import HTTPTypes
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1
import RingmasterNIO
import ServiceLifecycle
import Synchronization

/// An application in a worker, from its start to its end.
final class RunningApplication<App: ApplicationProtocol>: Sendable {
    private struct Parts: Sendable {
        var child: any ServerChildChannel
        var executor: RingTaskExecutor
        var services: Services?
    }

    private struct Services: Sendable {
        var group: ServiceGroup
        var running: Task<Void, Never>
    }

    /// What the application is served by, and which owns this.
    private struct Owner { weak var service: NIOService? }

    private let app: App
    private let connections: HTTPConnections
    private let date = HTTPDate()
    /// Set when it has started, before the first connection.
    private let parts = Mutex<Parts?>(nil)
    private let owner = Mutex(Owner())

    init(_ app: App, _ connections: HTTPConnections) {
        self.app = app
        self.connections = connections
    }

    func isServed(by service: NIOService) { owner.withLock { $0.service = service } }

    func start(on loop: RingEventLoop) async throws {
        let child = try connections.make(responder(try await app.responder))
        var services: Services?
        if !app.services.isEmpty {
            let group = ServiceGroup(configuration: .init(services: app.services, logger: app.logger))
            services = Services(group: group, running: Task { await run(group, on: loop) })
        }
        parts.withLock { [services] in
            $0 = Parts(child: child, executor: loop.taskExecutor, services: services)
        }
        do {
            for process in app.processesRunBeforeServerStart { try await process() }
        } catch {
            await stop()
            throw error
        }
    }

    /// A worker whose services have failed is no use to anybody: another takes its place.
    private func run(_ services: ServiceGroup, on loop: RingEventLoop) async {
        do {
            try await services.run()
        } catch {
            app.logger.error("a service of the application failed: \(error)")
            loop.execute { [self] in owner.withLock { $0.service }?.fail(error) }
        }
    }

    func stop() async {
        guard let services = parts.withLock({ $0?.services }) else { return }
        await services.group.triggerGracefulShutdown()
        await services.running.value
    }

    /// Has a connection's requests answered by a task on the loop's own thread.
    var accept: NIOService.Initializer {
        { [self] channel in
            guard let parts = parts.withLock({ $0 }) else {
                preconditionFailure("connections come when the application has started")
            }
            return channel.eventLoop.makeCompletedFuture {
                try channel.syncOptions?.setOption(.allowRemoteHalfClosure, value: true)
                guard let limits = connections.limits else { return }
                try channel.pipeline.syncOperations.addHandler(ConnectionEdge(idleTimeout: limits.idleTimeout))
            }.flatMap { [self] in
                serve(channel, parts.child, parts.executor)
            }
        }
    }

    private func serve<Child: ServerChildChannel>(
        _ channel: any Channel, _ child: Child, _ executor: RingTaskExecutor
    ) -> EventLoopFuture<Void> {
        let logger = app.logger
        return child.setup(channel: channel, logger: logger).map { value in
            _ = Task(executorPreference: executor) { await child.handle(value: value, logger: logger) }
        }
    }

    /// What an application does with a request.
    private func responder(_ responder: App.Responder) -> HTTPConnections.Responder {
        let (date, logger, serverName) = (date, app.logger, app.configuration.serverName)
        return { request, writer, channel in
            var requestLogger = logger
            requestLogger[metadataKey: "hb.request.id"] = .stringConvertible(RequestID())
            let context = App.Context(source: .init(channel: channel, logger: requestLogger))
            var response: Response
            do {
                response = try await responder.respond(to: request, context: context)
            } catch let error as HTTPParserError {
                throw error
            } catch {
                requestLogger.debug("a request failed", metadata: ["error": "\(error)"])
                response = Response(status: .internalServerError)
            }
            response.headers[.date] = date.now
            if let serverName { response.headers[.server] = serverName }
            // RFC 9110, 9.3.2: the next answer would begin with such a body.
            let body = request.method == .head ? ResponseBody() : response.body
            do {
                try await writer.write(response: response.head, body: body)
            } catch is HTTPParserError {
                // Hummingbird would answer to it a second time.
                throw ChannelError.inputClosed
            }
        }
    }
}
