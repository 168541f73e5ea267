import Testing

@testable import Ringmaster

@Suite("connections that the descriptors allow")
struct LimitsTests {
    private func connectionsMax(_ perConnection: Int, asked: Int? = nil, workers: Int, openFiles: Int) throws -> Int {
        try Limits(descriptorsPerConnection: perConnection)
            .connectionsMax(asked: asked, workers: workers, openFiles: openFiles)
    }

    @Test("by default as many as fit into the workers, and no more than 100000")
    func byDefault() throws {
        #expect(try connectionsMax(1, workers: 2, openFiles: 1192) == 2000)
        #expect(try connectionsMax(2, workers: 2, openFiles: 1192) == 1000)
        #expect(try connectionsMax(2, workers: 1, openFiles: 1193) == 500, "half a connection is none")
        #expect(try connectionsMax(1, workers: 4, openFiles: 1 << 30) == 100_000)
    }

    @Test("the default is always allowed when it is asked for, and one more is not, if the descriptors are the limit")
    func defaultIsTheMost() throws {
        for perConnection in [1, 2] {
            for workers in [1, 2, 3, 8, 64] {
                for openFiles in [256, 1000, 4711, 20_000, 200_000] {
                    guard let most = try? connectionsMax(perConnection, workers: workers, openFiles: openFiles) else {
                        continue
                    }
                    #expect(
                        try connectionsMax(perConnection, asked: most, workers: workers, openFiles: openFiles) == most)
                    guard most < 100_000 else { continue }
                    #expect(throws: CommandError.self) {
                        try connectionsMax(perConnection, asked: most + 1, workers: workers, openFiles: openFiles)
                    }
                }
            }
        }
    }

    @Test("when too many are asked for, the message names a limit that is just enough")
    func askedTooMany() throws {
        let error = #expect(throws: CommandError.self) {
            try connectionsMax(2, asked: 50_000, workers: 2, openFiles: 20_000)
        }
        #expect(error?.code == .limitTooLow)
        let needed = try number(after: "ulimit -n ", in: error?.message)
        #expect(error?.message.contains("--max-connections 50000 with 2 workers") == true)
        #expect(error?.message.contains("RLIMIT_NOFILE is 20000") == true)
        #expect(try connectionsMax(2, asked: 50_000, workers: 2, openFiles: needed) == 50_000)
        #expect(throws: CommandError.self) { try connectionsMax(2, asked: 50_000, workers: 2, openFiles: needed - 1) }
    }

    @Test("when the workers alone are too many, the message names a limit that is just enough")
    func tooManyWorkers() throws {
        let error = #expect(throws: CommandError.self) { try connectionsMax(1, workers: 64, openFiles: 1024) }
        #expect(error?.code == .limitTooLow)
        #expect(error?.message.hasPrefix("64 workers need ") == true)
        let needed = try number(after: "ulimit -n ", in: error?.message)
        #expect(try connectionsMax(1, workers: 64, openFiles: needed) >= 64)
        #expect(throws: CommandError.self) { try connectionsMax(1, workers: 64, openFiles: needed - 1) }
    }

    private func number(after words: String, in message: String?) throws -> Int {
        let message = try #require(message)
        let range = try #require(message.range(of: words))
        return try #require(Int(message[range.upperBound...].prefix { $0.isNumber }))
    }
}
