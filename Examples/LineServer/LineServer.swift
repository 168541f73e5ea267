// A server of lines, with a supervisor and worker processes.
//
//   swift run line-server --listen 127.0.0.1:7000 --workers 4        then: nc 127.0.0.1 7000
import Ringmaster
import Transport

@main struct LineServer: RingmasterApplication {
    static let name = "line-server"
    static let version = "0.1.0"
    static let abstract = "Answers lines: pid, count, quit."

    func makeService(_ context: ServiceContext) -> any Service { LineService() }
}
