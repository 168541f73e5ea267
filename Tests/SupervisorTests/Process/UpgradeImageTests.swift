import Foundation
import Handoff
import Testing

@testable import Supervisor
@testable import Transport

@Suite("upgrade image")
struct UpgradeImageTests {
    private static let plan = ListenerPlan(address: .unix(path: "/run/\"a b\".sock"), kind: "proxy", backlog: 7)

    /// A running supervisor, with something of everything.
    private static func image() throws -> UpgradeImage {
        let page = SupervisorPage(try StatusPage.create(slot: 0))
        let worker = WorkerID(slot: 1, incarnation: 3)
        return UpgradeImage(
            state: Pool.serving().state,
            listeners: [ListenerTable.Entry(id: 0, plan: plan, descriptor: 50, isServing: true)], listenerIDNext: 1,
            held: [
                UpgradeImage.Held(
                    descriptors: [60, 61], listener: 0, peer: .ipv6(high: 1, low: .max, port: 2, scope: 3),
                    acceptedAt: MonotonicTime(nanoseconds: .max - 1), state: Data([0, 255, 10]))
            ],
            workers: [
                WorkerHandle.Inheritance(worker: worker, pid: 99, control: 70, errors: 71, version: 2, sent: .max)
            ],
            pages: [UpgradeImage.Page(slot: 0, descriptor: 80, progress: page.progress)],
            lastWords: [
                LastWords(slot: 1, incarnation: 3, pid: 98, endedAt: 5, ending: "signal 6", text: "oh\n\u{fffd}no")
            ],
            configurations: [
                0: .init(text: [1, 2, 3], listeners: [0], descriptorsPerConnection: 2, connectionsMax: 9)
            ],
            control: nil, command: CommandID(4), startedAt: 1_700_000_000, loopKind: .smallRing, formerProgram: 90,
            arguments: ["ringmaster", "ünï"], environment: ["A=b=c"], programPath: "/bin/ringmaster",
            reloadWaiting: .init(command: CommandID(5)), returned: nil)
    }

    private static func json(_ image: UpgradeImage) throws -> [String: Any] {
        let object = try JSONSerialization.jsonObject(with: JSONEncoder().encode(image))
        return try #require(object as? [String: Any])
    }

    private static func read(_ bytes: some Sequence<UInt8>) throws -> UpgradeImage {
        let descriptor = try SealedMemory.make(Array(bytes), name: "test")
        defer { close(descriptor) }
        return try UpgradeImage.read(descriptor)
    }

    private static func read(_ object: [String: Any]) throws -> UpgradeImage {
        try read(JSONSerialization.data(withJSONObject: object))
    }

    private static func refusal(_ body: () throws -> UpgradeImage) -> PlanError? {
        #expect(throws: PlanError.self) { try body() }
    }

    @Test("what is sealed is what is read, and the descriptor stays open")
    func roundTrip() throws {
        let image = try Self.image()
        let descriptor = try image.seal()
        defer { close(descriptor) }
        let copy = try UpgradeImage.read(descriptor)
        // Dictionaries have no order, so that the two JSON texts may differ.
        #expect(try NSDictionary(dictionary: Self.json(copy)).isEqual(to: Self.json(image)))
        #expect(copy.held[0].state == Data([0, 255, 10]))
        #expect(copy.held[0].acceptedAt == MonotonicTime(nanoseconds: .max - 1))
        #expect(copy.workers[0].sent == .max)
        #expect(copy.reloadWaiting == .init(command: CommandID(5)))
        #expect(copy.command == CommandID(4))
        #expect(!copy.isReturn)
        #expect(fcntl(descriptor, F_GETFD) >= 0)
        #expect(copy.planInForce.listeners == [Self.plan])
        #expect(copy.planInForce.text == [1, 2, 3])
    }

    @Test("every descriptor that is to survive is named once")
    func descriptors() throws {
        #expect(try Self.image().descriptors.sorted() == [50, 60, 61, 70, 71, 80, 90])
    }

    @Test("keys that are not known are ignored")
    func unknownKeys() throws {
        var object = try Self.json(Self.image())
        object["somethingOfTomorrow"] = ["a": 1]
        var state = try #require(object["state"] as? [String: Any])
        state["somethingElse"] = true
        object["state"] = state
        #expect(try Self.read(object).workers.count == 1)
    }

    @Test("optional keys may be missing")
    func missingKeys() throws {
        var object = try Self.json(Self.image())
        for key in ["reloadWaiting", "command", "control", "returned"] { object[key] = nil }
        let image = try Self.read(object)
        #expect(image.reloadWaiting == nil && image.command == nil)
    }

    @Test("another format is named, whatever else such an image has")
    func otherFormat() throws {
        for object in [try Self.json(Self.image()).merging(["format": 2]) { $1 }, ["format": 2]] {
            let error = Self.refusal { try Self.read(object) }
            #expect(error?.exitCode == .badUsage)
            #expect(error?.sentence.contains("has format 2, and this program knows 1") == true)
        }
    }

    @Test("an image without the configuration that serves is refused")
    func noConfiguration() throws {
        var image = try Self.image()
        image.configurations = [:]
        #expect(
            Self.refusal { try Self.read(JSONEncoder().encode(image)) }?.sentence.contains("no configuration") == true)
    }

    @Test("truncated text, other text, no text, and what is no sealed memfd are refused")
    func nonsense() throws {
        let data = try JSONEncoder().encode(Self.image())
        for length in [0, 1, data.count / 2, data.count - 1] {
            #expect(Self.refusal { try Self.read(data.prefix(length)) }?.sentence.contains("makes no sense") == true)
        }
        #expect(Self.refusal { try Self.read("[]".utf8) } != nil)
        let file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC)
        defer { close(file) }
        for descriptor in [file, -1] {
            #expect(Self.refusal { try UpgradeImage.read(descriptor) } != nil)
        }
    }

    @Test("a program that cannot be executed leaves everything as it was")
    func handOverFails() throws {
        var image = try Self.image()
        let descriptor = try image.seal()
        defer { close(descriptor) }
        image.listeners[0].descriptor = descriptor
        let launcher = WorkerLauncher(arguments: ["nobody"], environment: [])
        #expect(image.handOver(descriptor, to: "/nowhere/at/all", launcher).hasPrefix("execve /nowhere/at/all: "))
        #expect(fcntl(descriptor, F_GETFD) == FD_CLOEXEC)
    }
}
