// nio-server echo|http|https io_uring|epoll|posix PORT [CERTIFICATE KEY]
//
// One loop, one thread for connections. On posix everything is SwiftNIO's or Hummingbird's own; else the same handlers and
// the same router are on RingmasterNIO.
import Hummingbird
import HummingbirdHTTP2
import Logging
import NIOCore
import NIOPosix
import NIOSSL
import RingmasterHummingbird
import RingmasterNIO
import Transport

final class Echo: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { context.write(data, promise: nil) }
    func channelReadComplete(context: ChannelHandlerContext) { context.flush() }
    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}

let arguments = CommandLine.arguments
guard arguments.count >= 4, let port = Int(arguments[3]) else {
    fatalError("nio-server echo|http|https io_uring|epoll|posix PORT [CERTIFICATE KEY]")
}
let (kind, transport) = (arguments[1], arguments[2])
var logger = Logger(label: "nio-server")
logger.logLevel = .error

@Sendable func addEcho(_ channel: any NIOCore.Channel) -> EventLoopFuture<Void> {
    channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Echo()) }
}

func tls() throws -> TLSConfiguration {
    TLSConfiguration.makeServerConfiguration(
        certificateChain: try NIOSSLCertificate.fromPEMFile(arguments[4]).map { .certificate($0) },
        privateKey: .privateKey(try NIOSSLPrivateKey(file: arguments[5], format: .pem)))
}

func hello() -> Router<BasicRequestContext> {
    let router = Router()
    router.get("/") { _, _ in "Hello, world!" }
    return router
}

/// A worker without its supervisor: a service, and a listener in the same process.
func serve(_ service: any Transport.Service) throws {
    let decision = TransportDecision(transport: transport == "epoll" ? .epoll : .ioUring)
    let loop = try Transport.EventLoop(decision.configuration)
    try service.start(ServiceHost(loop: loop, ready: {}, connectionEnded: {}))
    guard let address = Transport.SocketAddress(numericHost: "127.0.0.1", port: UInt16(port)) else { return }
    let listener = Listener(loop, fd: try Socket.listen(address, backlog: 1024)) { fd in
        service.serve(IncomingConnection(fd: fd, listener: 0, peer: address, acceptedAt: .now, isShared: false))
    }
    listener.resume()
    try loop.run()
}

switch (kind, transport) {
case ("echo", "posix"):
    let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup(numberOfThreads: 1))
        .serverChannelOption(.backlog, value: 1024).serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
        .childChannelInitializer(addEcho).bind(host: "127.0.0.1", port: port).get()
    try await channel.closeFuture.get()
case ("echo", _):
    try serve(NIOService(initializer: addEcho))
case ("http", "posix"), ("https", "posix"):
    let application = Application(
        router: hello(), server: kind == "https" ? try .http2Upgrade(tlsConfiguration: tls()) : .http1(),
        configuration: .init(address: .hostname("127.0.0.1", port: port)),
        eventLoopGroupProvider: .shared(MultiThreadedEventLoopGroup(numberOfThreads: 1)), logger: logger)
    try await application.run()
case ("http", _):
    try serve(HummingbirdService.make(router: hello(), logger: logger))
case ("https", _):
    try serve(HummingbirdService.make(router: hello(), connections: .http2(tls()), logger: logger))
default:
    fatalError("nio-server echo|http|https io_uring|epoll|posix PORT [CERTIFICATE KEY]")
}
