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
        var services: ServiceGroup?
        var running: Task<Void, Never>?
    }

    private let app: App
    private let connections: HTTPConnections
    private let date = HTTPDate()
    /// Set when it has started, before the first connection.
    private let parts = Mutex<Parts?>(nil)

    init(_ app: App, _ connections: HTTPConnections) {
        self.app = app
        self.connections = connections
    }

    func start(on loop: RingEventLoop) async throws {
        let child = try connections.make(responder(try await app.responder))
        var running: Task<Void, Never>?
        var group: ServiceGroup?
        if !app.services.isEmpty {
            let services = ServiceGroup(configuration: .init(services: app.services, logger: app.logger))
            group = services
            running = Task { [logger = app.logger] in
                do {
                    try await services.run()
                } catch {
                    // The connections go on.
                    logger.error("a service of the application failed: \(error)")
                }
            }
        }
        for process in app.processesRunBeforeServerStart { try await process() }
        parts.withLock { [group, running] in
            $0 = Parts(child: child, executor: loop.taskExecutor, services: group, running: running)
        }
    }

    func stop() async {
        guard let parts = parts.withLock({ $0 }), let services = parts.services else { return }
        await services.triggerGracefulShutdown()
        await parts.running?.value
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
