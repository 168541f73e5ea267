// An echo server on Transport alone: `EchoServer PORT io_uring|epoll`.
import Glibc
import Transport

final class Echo: Connection {
    override func received(_ bytes: RawSpan) { write(bytes) }
}

guard CommandLine.arguments.count == 3, let port = UInt16(CommandLine.arguments[1]),
    let transport = TransportKind(rawValue: CommandLine.arguments[2])
else { exit(64) }
var configuration = EventLoopConfiguration()
configuration.transport = transport
let loop = try EventLoop(configuration)
let listening = try Socket.listen(.ipv4(INADDR_LOOPBACK, port: port), backlog: 1024)
loop.remote.execute { loop in
    let listener = Listener(loop, fd: listening) { fd in
        Socket.setNoDelay(fd)
        Echo(loop, fd: fd).start()
    }
    listener.resume()
}
try loop.run()
