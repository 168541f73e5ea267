import Foundation
import Supervisor
import Testing

@testable import Ringmaster

@Suite("status as a table")
struct StatusTableTests {
    /// A pool in trouble: a worker in back-off, one queue full, another unknown.
    static let sample =
        #"{"name":"ringmaster","version":"0.1.0","pid":4711,"startedAt":1000,"transport":"io_uring","pool":{"phase":"running","#
        + #""generation":2,"wanted":2,"degraded":true,"pending":3,"workers":[{"slot":0,"incarnation":1,"generation":2,"#
        + #""state":"ready","live":10240,"inflight":12,"sinceSeconds":11100.5,"restarts":0},{"slot":1,"incarnation":4,"#
        + #""generation":1,"state":"backoff","live":0,"inflight":0,"sinceSeconds":2,"restarts":4}],"#
        + #""counters":{"accepted":123456,"adopted":123453,"lost":0,"redelivered":17},"#
        + #""lastReplacement":{"result":"failed","message":"3 workers died"}},"#
        + #""processes":[{"slot":0,"pid":4712,"counters":{}}],"counters":{"bytesReceived":1000000,"closed":113216},"#
        + #""lastWords":[{"slot":1,"incarnation":2,"pid":4720,"endedAt":90000,"ending":"signal 6","text":"Fatal error\n\u001b[2J at x"}],"#
        + #""listeners":[{"id":0,"address":"127.0.0.1:7000","acceptQueue":4097,"acceptQueueMax":4096,"drops":31},"#
        + #"{"id":1,"address":"unix:/run/pg.sock","acceptQueue":0,"acceptQueueMax":4096},{"id":2,"address":"[::]:7"}],"#
        + #""listenersProblem":"the kernel does not tell: sock_diag: No such file or directory"}"#

    private func lines(_ text: String, now: Int64 = 91_000) throws -> [String] {
        StatusTable.lines(try JSONDecoder().decode(StatusReport.self, from: Data(text.utf8)), now: now)
    }

    @Test("everything that it says stands in this form, in 80 columns")
    func form() throws {
        let expected = #"""
            ringmaster 0.1.0, pid 4711, io_uring, up 1 d 1 h
            running, generation 2, workers wanted: 2, sockets that wait for a worker: 3
            DEGRADED: too many workers died; they start again slowly, one at a time
            last replacement: FAILED: 3 workers died

            SLOT   PID  GENERATION  STATE          FOR   LIVE  IN FLIGHT  RESTARTS
               0  4712           2  ready    3 h 5 min  10240         12         0
               1     -           1  backoff        2 s      0          0         4

            QUEUE  LIMIT  DROPS  LISTENER
             4097   4096     31  127.0.0.1:7000  FULL
                0   4096      -  unix:/run/pg.sock
                -      -      -  [::]:7
            accept queues: the kernel does not tell: sock_diag: No such file or directory

            supervisor: accepted 123456, adopted 123453, redelivered 17
            workers: bytesReceived 1000000, closed 113216

            slot 1: pid 4720 ended 16 min ago by signal 6, and had said:
              Fatal error
              \u{1b}[2J at x
            """#
        let lines = try lines(Self.sample)
        #expect(lines.joined(separator: "\n") == expected)
        #expect(lines.allSatisfy { $0.count <= 80 })
    }

    @Test(
        "a full server says which limit makes clients wait",
        arguments: [("max-connections", "--max-connections"), ("open-files", "RLIMIT_NOFILE")])
    func full(limit: String, name: String) throws {
        let text = Self.sample.replacing(#""degraded":true"#, with: #""degraded":false,"full":"\#(limit)""#)
        let line = try #require(try lines(text).first { $0.hasPrefix("FULL") })
        #expect(line == "FULL at 10252 connections: new clients wait; \(name) allows no more")
        #expect(line.count <= 80)
    }

    @Test("many counters are folded")
    func folded() throws {
        let counters = (10..<40).map { #""counter\#($0)":\#($0)"# }.joined(separator: ",")
        let text = Self.sample.replacing(#""accepted":123456"#, with: counters)
        let folded = try lines(text).drop { !$0.hasPrefix("supervisor:") }.prefix { !$0.hasPrefix("workers:") }
        #expect(folded.count > 3 && folded.allSatisfy { $0.count <= 80 })
        #expect(folded.joined().contains("counter38 38, counter39 39, redelivered 17"))
    }

    @Test(
        "a duration has its two greatest units",
        arguments: [
            (0, "0 s"), (59.9, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h 0 min"), (86_399, "23 h 59 min"),
            (86_400, "1 d 0 h"), (864_000, "10 d 0 h"), (-1, "0 s"), (.infinity, "0 s"), (.nan, "0 s"),
        ])
    func durations(seconds: Double, text: String) {
        #expect(StatusTable.duration(seconds) == text)
    }

    @Test("what could steer a terminal is shown instead, other languages are not touched")
    func visible() {
        #expect(
            StatusTable.visible("a\u{1b}[0m\u{7f}\u{9b}\t\r\nüß日🙂") == #"a\u{1b}[0m\u{7f}\u{9b}\u{9}\u{d}\u{a}üß日🙂"#)
    }
}
