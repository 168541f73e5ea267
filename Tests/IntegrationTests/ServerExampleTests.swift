import Foundation
import Testing
import Transport

@testable import IntegrationTesting

extension Integration {
    /// The examples on SwiftNIO, each with a real client.
    @Suite(.serialized)
    struct ServerExampleTests {
        private static let transports = ["auto", "epoll"]

        private static func pool(_ example: String, _ transport: String, workers: Int = 1) throws -> Pool {
            let program = Ringmaster.built(example)
            return try Pool(
                ["--listen", "127.0.0.1:0", "--workers", "\(workers)", "--transport", transport], binary: program,
                speaker: program)
        }

        // MARK: todo-api

        private struct Todo: Decodable, Equatable {
            var id: Int
            var title: String
            var isDone: Bool
        }

        /// What curl tells of a response.
        private struct Answer {
            var body: String
            var status: String
            var worker: String

            func json<Value: Decodable>(_: Value.Type = Value.self) throws -> Value {
                try JSONDecoder().decode(Value.self, from: Data(body.utf8))
            }
        }

        private static func ask(
            _ pool: Pool, _ path: String, _ method: String = "GET", body: String? = nil
        ) throws -> Answer {
            let data = body.map { ["--header", "Content-Type: application/json", "--data", $0] } ?? []
            let output = try ChildProcess.succeed(
                "curl",
                ["--silent", "--show-error", "--write-out", "\n%{http_code}\n%header{x-worker}", "--request", method]
                    + data + ["http://\(pool.address)\(path)"])
            let lines = output.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
            return Answer(
                body: lines.dropLast(2).joined(separator: "\n"), status: lines[lines.count - 2],
                worker: lines[lines.count - 1])
        }

        @Test("todo-api: curl makes, reads, changes and removes things to do", .needs("curl"), arguments: transports)
        func todos(transport: String) throws {
            let pool = try Self.pool("todo-api", transport)
            defer { pool.kill() }
            #expect(try Self.ask(pool, "/todos").body == "[]")
            let made = try Self.ask(pool, "/todos", "POST", body: #"{"title":"write"}"#)
            #expect(made.status == "201" && made.worker == "\(pool.workers[0])")
            #expect(try made.json() == Todo(id: 1, title: "write", isDone: false))
            _ = try Self.ask(pool, "/todos", "POST", body: #"{"title":"read"}"#)
            let changed = try Self.ask(pool, "/todos/1", "PATCH", body: #"{"isDone":true}"#)
            #expect(try changed.json() == Todo(id: 1, title: "write", isDone: true))
            #expect(try Self.ask(pool, "/todos").json([Todo].self).map(\.title) == ["write", "read"])
            #expect(try Self.ask(pool, "/todos/1", "DELETE").status == "204")
            #expect(try Self.ask(pool, "/todos").json() == [Todo(id: 2, title: "read", isDone: false)])
            for (path, method, body, status) in [
                ("/todos/1", "GET", nil, "404"), ("/todos/1", "DELETE", nil, "404"), ("/todos/one", "GET", nil, "400"),
                ("/todos", "POST", "{", "400"), ("/todos", "POST", "{}", "400"), ("/nothing", "GET", nil, "404"),
            ] {
                let answer = try Self.ask(pool, path, method, body: body)
                #expect(answer.status == status && answer.worker == "\(pool.workers[0])", "\(method) \(path)")
            }
        }

        @Test(
            "todo-api: each worker has a list of its own, and says which it is", .needs("curl"), arguments: transports)
        func todosOfTwoWorkers(transport: String) throws {
            let pool = try Self.pool("todo-api", transport, workers: 2)
            defer { pool.kill() }
            let keeper = try Self.ask(pool, "/todos", "POST", body: #"{"title":"write"}"#).worker
            var lists: [String: Set<Int>] = [:]
            try wait(for: "answers of both workers") {
                let answer = try Self.ask(pool, "/todos")
                lists[answer.worker, default: []].insert(try answer.json([Todo].self).count)
                return lists.count == 2
            }
            #expect(Set(lists.keys) == Set(pool.workers.map { "\($0)" }))
            for (worker, counts) in lists { #expect(counts == [worker == keeper ? 1 : 0]) }
        }

        // MARK: nio-line-server

        private static func line(_ client: Client, _ request: String) throws -> String {
            try client.send(request)
            var answer = ""
            while !answer.hasSuffix("\n") {
                let piece = try client.receive(1)
                guard !piece.isEmpty else { throw HarnessError("the connection ended after \(answer)") }
                answer += piece
            }
            return String(answer.dropLast())
        }

        @Test(
            "nio-line-server: lines are answered in order, however they are cut; a line without an end is not",
            arguments: transports)
        func lines(transport: String) throws {
            let pool = try Self.pool("nio-line-server", transport)
            defer { pool.kill() }
            let client = try pool.ringmaster.connect()
            #expect(try Self.line(client, "pid\n") == "\(pool.workers[0])")
            try client.send("sum 1 2")
            usleep(50_000)
            try client.send("3\nsum\nsum x\nhello\nquit\npid\n")
            #expect(try client.receive(200) == "24\n0\nx is not a number\nsay pid, sum 1 2 3 or quit\n", "and the end")
            client.close()
            let other = try pool.ringmaster.connect()
            try other.send(String(repeating: "x", count: 5000))
            try wait(for: "the end of who sends no line") { other.hasEnded() }
        }

        @Test(
            "nio-line-server: at a reload, clients between two lines go on in another worker, others get their answer",
            arguments: transports)
        func linesMove(transport: String) throws {
            let pool = try Self.pool("nio-line-server", transport, workers: 2)
            defer { pool.kill() }
            let old = pool.workers
            let idle = try (0..<10).map { _ in try pool.ringmaster.connect() }
            defer { idle.closeAll() }
            for client in idle { #expect(old.contains(pid_t(try Self.line(client, "pid\n")) ?? 0)) }
            let busy = try pool.ringmaster.connect()
            #expect(try Self.line(busy, "sum 1\nsu") == "1")
            pool.ringmaster.process.signal(SIGHUP)
            try wait(for: "all of them to move") { try pool.status().pool.moves == idle.count }
            for client in idle { #expect(!old.contains(pid_t(try Self.line(client, "pid\n")) ?? 0)) }
            #expect(try Self.line(busy, "m 2 2\n") == "4")
            // Moved as well now, or at its end: either way, the old workers can leave.
            try wait(for: "the old workers to leave") { !old.contains(where: ProcessTable.isRunning) }
            #expect(try pool.settle().pool.generation == 1)
        }

        // MARK: websocket-chat

        @Test(
            "websocket-chat: PyPI's websockets talk, in pieces too; at the end they are told", .needs(Programs.python),
            arguments: transports)
        func chat(transport: String) throws {
            let pool = try Self.pool("websocket-chat", transport)
            defer { pool.kill() }
            let script = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Fixtures/chat.py").path
            let port = try #require(pool.address.port)
            let clients = try ChildProcess(Programs.python, [script, "\(port)"])
            defer { clients.kill() }
            try wait(for: "all to have talked: \(clients.output)\(clients.errors)") {
                clients.output.contains("talked") || clients.poll() != nil
            }
            pool.ringmaster.process.signal(SIGTERM)
            #expect(try clients.waitForEnd() == .exited(0), "\(clients.errors)")
            #expect(clients.output == "too long 1009\ntoo long in pieces 1009\ntalked\nclosed 1001\n")
            #expect(try pool.ringmaster.process.waitForEnd() == .exited(0), "\(pool.ringmaster.process.errors)")
        }

        @Test(
            "websocket-chat: a request that is no handshake is told what is wanted", .needs("curl"),
            arguments: transports)
        func noHandshake(transport: String) throws {
            let pool = try Self.pool("websocket-chat", transport)
            defer { pool.kill() }
            #expect(try Self.ask(pool, "/").status == "426")
        }
    }
}
