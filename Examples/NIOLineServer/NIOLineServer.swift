// A server of lines on plain SwiftNIO, with a supervisor and worker processes.
//
//   swift run nio-line-server --listen 127.0.0.1:7000 --workers 4        then: nc 127.0.0.1 7000
import NIOCore
import Ringmaster
import RingmasterNIO
import Transport

@main struct NIOLineServer: RingmasterApplication {
    static let name = "nio-line-server"
    static let abstract = "Answers lines: pid, sum 1 2 3, quit."

    func makeService(_ context: ServiceContext) -> any Service {
        NIOService(canMove: LineHandler.isBetweenLines, initializer: LineHandler.addHandlers)
    }
}
