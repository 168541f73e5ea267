import Foundation
import Synchronization
import Testing
import Transport

@testable import Services

/// Collects answers from the resolver's thread and lets a test wait for them.
private final class Answers: Sendable {
    private let list = Mutex<[(name: String, result: Result<[SocketAddress], HostLookupError>)]>([])
    private let arrived = DispatchSemaphore(value: 0)

    func completion(_ name: String) -> Resolver.Completion {
        { result in
            self.list.withLock { $0.append((name, result)) }
            self.arrived.signal()
        }
    }

    /// Waits until `count` more answers have come; false after ten seconds.
    func wait(for count: Int) -> Bool {
        (0..<count).allSatisfy { _ in arrived.wait(timeout: .now() + 10) == .success }
    }

    var names: [String] { list.withLock { $0.map(\.name) } }
    var results: [Result<[SocketAddress], HostLookupError>] { list.withLock { $0.map(\.result) } }
}

/// A look-up that tells when it has begun and answers when it is allowed to.
private final class Gate: Sendable {
    private let began = DispatchSemaphore(value: 0)
    private let opened = DispatchSemaphore(value: 0)

    func pass() {
        began.signal()
        #expect(opened.wait(timeout: .now() + 10) == .success, "the gate was never opened")
    }

    func waitUntilBegun() -> Bool { began.wait(timeout: .now() + 10) == .success }
    func open() { opened.signal() }
}

@Suite("resolver")
struct ResolverTests {
    @Test("an answer comes on the resolver's own thread, with the host and port asked for")
    func answer() throws {
        let lookupThread = Mutex<UInt>(0)
        let completionThread = Mutex<UInt>(0)
        let resolver = try Resolver { host, port throws(HostLookupError) in
            lookupThread.withLock { $0 = UInt(pthread_self()) }
            return [.unix(path: "/\(host)"), .ipv4(1, port: port)]
        }
        let answers = Answers()
        let completion = answers.completion("redis")
        try resolver.resolve(host: "redis", port: 6379) { result in
            completionThread.withLock { $0 = UInt(pthread_self()) }
            completion(result)
        }
        #expect(answers.wait(for: 1))
        #expect(answers.results == [.success([.unix(path: "/redis"), .ipv4(1, port: 6379)])])
        let thread = lookupThread.withLock { $0 }
        #expect(thread == completionThread.withLock { $0 })
        #expect(thread != UInt(pthread_self()))
    }

    @Test("names are looked up in the order asked, each completed once")
    func order() throws {
        let resolver = try Resolver { _, port throws(HostLookupError) in [.ipv4(0, port: port)] }
        let answers = Answers()
        let names = (0..<50).map { "host\($0)" }
        for name in names { try resolver.resolve(host: name, port: 1, completion: answers.completion(name)) }
        #expect(answers.wait(for: names.count))
        #expect(answers.names == names)
    }

    @Test("a failed look-up reaches its completion, and the next name is looked up")
    func failure() throws {
        let error = HostLookupError.failed(host: "a", code: -2, text: "no such name")
        let resolver = try Resolver { host, port throws(HostLookupError) in
            guard host == "b" else { throw error }
            return [.ipv4(0, port: port)]
        }
        let answers = Answers()
        try resolver.resolve(host: "a", port: 1, completion: answers.completion("a"))
        try resolver.resolve(host: "b", port: 1, completion: answers.completion("b"))
        #expect(answers.wait(for: 2))
        #expect(answers.results == [.failure(error), .success([.ipv4(0, port: 1)])])
    }

    @Test("a name too many is refused at once, and there is room again afterwards")
    func queueFull() throws {
        let gate = Gate()
        let resolver = try Resolver(waitingMax: 2) { host, port throws(HostLookupError) in
            if host == "slow" { gate.pass() }
            return [.ipv4(0, port: port)]
        }
        let answers = Answers()
        try resolver.resolve(host: "slow", port: 1, completion: answers.completion("slow"))
        #expect(gate.waitUntilBegun())
        try resolver.resolve(host: "a", port: 1, completion: answers.completion("a"))
        try resolver.resolve(host: "b", port: 1, completion: answers.completion("b"))
        #expect(throws: HostLookupError.queueFull(host: "c")) {
            try resolver.resolve(host: "c", port: 1, completion: answers.completion("c"))
        }
        gate.open()
        #expect(answers.wait(for: 3))
        try resolver.resolve(host: "d", port: 1, completion: answers.completion("d"))
        #expect(answers.wait(for: 1))
        #expect(answers.names == ["slow", "a", "b", "d"])
    }

    @Test("stopping does not wait for a slow look-up; it still gets its answer, the names behind it an error")
    func stop() throws {
        let gate = Gate()
        let resolver = try Resolver { host, port throws(HostLookupError) in
            gate.pass()
            return [.ipv4(0, port: port)]
        }
        let answers = Answers()
        try resolver.resolve(host: "slow", port: 1, completion: answers.completion("slow"))
        #expect(gate.waitUntilBegun())
        try resolver.resolve(host: "a", port: 1, completion: answers.completion("a"))
        resolver.stop()
        resolver.stop()
        #expect(answers.names.isEmpty, "the look-up is still blocked")
        #expect(throws: HostLookupError.stopped(host: "b")) {
            try resolver.resolve(host: "b", port: 1, completion: answers.completion("b"))
        }
        gate.open()
        #expect(answers.wait(for: 2))
        #expect(answers.results == [.success([.ipv4(0, port: 1)]), .failure(.stopped(host: "a"))])
    }

    @Test("a resolver that is let go ends its thread")
    func letGo() throws {
        final class Witness: Sendable {
            let gone: DispatchSemaphore
            init(_ gone: DispatchSemaphore) { self.gone = gone }
            deinit { gone.signal() }
        }
        let gone = DispatchSemaphore(value: 0)
        // The thread keeps the queue, the queue keeps the look-up, and that keeps the witness.
        func makeAndForget() throws {
            let witness = Witness(gone)
            let resolver = try Resolver { _, port throws(HostLookupError) in
                withExtendedLifetime(witness) { [.ipv4(0, port: port)] }
            }
            let answers = Answers()
            try resolver.resolve(host: "a", port: 1, completion: answers.completion("a"))
            #expect(answers.wait(for: 1))
        }
        try makeAndForget()
        #expect(gone.wait(timeout: .now() + 10) == .success)
    }

    @Test("the system's resolver knows localhost")
    func localhost() throws {
        let resolver = try Resolver()
        let answers = Answers()
        try resolver.resolve(host: "localhost", port: 80, completion: answers.completion("localhost"))
        #expect(answers.wait(for: 1))
        let addresses = try #require(answers.results.first).get()
        #expect(!addresses.isEmpty && addresses.allSatisfy { ["127.0.0.1", "::1"].contains($0.host) && $0.port == 80 })
    }
}
