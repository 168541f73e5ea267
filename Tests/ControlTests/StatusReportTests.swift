import Glibc
import Testing

@testable import Supervisor
@testable import Transport
@testable import TransportTesting

@Suite("status report")
struct StatusReportTests {
    @Test("its JSON has these names, which scripts rely on")
    func names() throws {
        let text =
            #"{"counters":{"closed":2},"lastWords":[{"endedAt":9,"ending":"signal 6","incarnation":2,"pid":8,"slot":1,"text":"a\nb"}],"#
            + #""listeners":[{"acceptQueue":1,"acceptQueueMax":2,"address":"127.0.0.1:1","drops":3,"id":0},"#
            + #"{"address":"unix:/a","id":1}],"listenersProblem":"p","name":"n","pid":1,"#
            + #""pool":{"counters":{"accepted":5},"degraded":false,"generation":2,"#
            + #""lastReplacement":{"message":"m","result":"done"},"pending":0,"phase":"running","wanted":1,"#
            + #""workers":[{"generation":2,"incarnation":3,"inflight":4,"live":5,"restarts":6,"sinceSeconds":7.5,"#
            + #""slot":0,"state":"ready"}]},"#
            + #""processes":[{"counters":{"closed":1},"pid":7,"slot":0}],"#
            + #""startedAt":6,"transport":"epoll","version":"0.1.0"}"#
        let report = try ControlLine.decode(StatusReport.self, from: Array(text.utf8))
        let json = try report.json()
        #expect(json == text)
    }

    @Test("it reads the queues of its listeners when it is made")
    func queues() throws {
        let listener = try Socket.listen(.anyLoopback, backlog: 6)
        defer { close(listener) }
        let client = try Peer(connectingTo: try #require(Socket.localAddress(of: listener)))
        try eventually { AcceptQueues.read(sockets: [listener]).queues[0]?.depth == 1 }
        let report = StatusReport(
            name: "n", version: "1", pid: 1, startedAt: 0, transport: "epoll",
            pool: PoolStatus(
                phase: "running", generation: 0, wanted: 1, degraded: false, workers: [], pending: 0, counters: [:]),
            processes: [], counters: [:], lastWords: [], listeners: [(id: 4, address: "a", descriptor: listener)])
        #expect(
            report.listeners
                == [ListenerStatus(id: 4, address: "a", queue: AcceptQueue(depth: 1, limit: 6, drops: 0))])
        #expect(report.listenersProblem == nil)
        withExtendedLifetime(client) {}
    }
}
