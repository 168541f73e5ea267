import GRPCCore
import GRPCNIOTransportHTTP2Posix
import Logging
import NIOCore
import RingmasterNIO
import Synchronization

/// gRPC's server as the service of a worker: calls are answered on the worker's own loop and thread.
enum GRPCService {
    static func make(_ services: [any RegistrableRPCService], logger: Logger) -> NIOService {
        let running = RunningServer(services, logger)
        return NIOService(
            stopping: { loop in
                loop.makeFutureWithTask { await running.stop() }
            },
            listening: { connections in
                connections.loop.makeFutureWithTask { await running.start(on: connections) }
            })
    }
}

/// Has gRPC's transport listen to the worker's connections.
private struct WorkerListener: HTTP2ServerTransport.ListenerFactory {
    let connections: WorkerConnections

    var eventLoopGroup: any EventLoopGroup { connections.loop }

    func makeListeningChannel(
        listenerConfigurator: HTTP2ServerTransport.ListenerConfigurator,
        connectionConfigurator: HTTP2ServerTransport.ConnectionConfigurator
    ) async throws -> NIOAsyncChannel<HTTP2ServerTransport.ConnectionConfigurator.ConnectionChannel, Never> {
        try await connections.listen(
            serverChannelInitializer: { listenerConfigurator.configure(channel: $0) },
            childChannelInitializer: { connectionConfigurator.configure(channel: $0, tls: .none) })
    }
}

/// The server of one worker, from its start to its end.
private final class RunningServer: Sendable {
    private struct Parts {
        let server: GRPCServer<HTTP2ServerTransport.Custom<WorkerListener>>
        let serving: Task<Void, Never>
    }

    private let services: [any RegistrableRPCService]
    private let logger: Logger
    private let parts = Mutex<Parts?>(nil)

    private static var configuration: HTTP2ServerTransport.Custom<WorkerListener>.Config {
        var configuration = HTTP2ServerTransport.Custom<WorkerListener>.Config.defaults
        // NIOHTTP2 allows 100 in any case, and a client that has not been told so loses its connection for the next one.
        configuration.http2.maxConcurrentStreams = 100
        return configuration
    }

    init(_ services: [any RegistrableRPCService], _ logger: Logger) {
        self.services = services
        self.logger = logger
    }

    /// Returns when the server listens, or has failed to.
    func start(on connections: WorkerConnections) async {
        let transport = HTTP2ServerTransport.Custom(
            listenerFactory: WorkerListener(connections: connections), config: Self.configuration)
        let server = GRPCServer(transport: transport, services: services)
        let logger = logger
        let serving = Task(executorPreference: connections.loop.taskExecutor) {
            do {
                try await server.serve()
            } catch {
                logger.error("the gRPC server failed: \(error)")
            }
        }
        parts.withLock { $0 = Parts(server: server, serving: serving) }
        // There is none, and it takes until the server listens to say so.
        _ = await transport.listeningAddress
    }

    func stop() async {
        guard let parts = parts.withLock({ $0 }) else { return }
        parts.server.beginGracefulShutdown()
        await parts.serving.value
    }
}
