import ArgumentParser
import Ringmaster
import Transport

/// A program with two services, neither of which serves anything.
enum SampleProgram: RingmasterProgram {
    static let name = "sample"
    static let version = "1.2.3"
    static let services: [any ServiceOptions.Type] = [PlainOptions.self, RichOptions.self]
}

/// A service without options.
struct PlainOptions: ServiceOptions {
    static let kind = "plain"

    func makeService(_ context: ServiceContext) -> any Service { IdleService() }
}

/// A service with an option of each kind.
struct RichOptions: ServiceOptions {
    static let kind = "rich"

    @Option var target: [String] = []
    @Option var idleTimeout: Seconds = Seconds(600)
    @Flag var acceptProxy = false

    mutating func validate() throws {
        guard idleTimeout.duration > .zero else { throw ValidationError("--idle-timeout 0 makes no sense") }
    }

    var descriptorsPerConnection: Int { 3 }

    func checkComplete() throws(CommandError) {
        guard !target.isEmpty else { throw CommandError("--target is missing") }
    }

    func checkReachable() throws(CommandError) {
        guard !target.contains("far") else { throw CommandError("--target far is out of reach") }
    }

    func makeService(_ context: ServiceContext) throws -> any Service {
        if target.contains("broken") { throw Broken() }
        return IdleService()
    }

    struct Broken: Error, CustomStringConvertible {
        var description: String { "there is a hole in it" }
    }
}

/// A service with an option that must be given.
struct DemandingOptions: ServiceOptions {
    static let kind = "demanding"

    @Option var depth: Int
    @Option var height: Int = 1

    func makeService(_ context: ServiceContext) -> any Service { IdleService() }
}

/// A program that is its only service.
struct SampleApplication: RingmasterApplication {
    static let name = "sample-application"
    static let discussion = "It is for tests."

    @Option(help: "What it says first.") var greeting = "hello"

    func makeService(_ context: ServiceContext) -> any Service { IdleService() }
}

/// Takes nothing and has nothing.
final class IdleService: Service {
    var descriptorsPerConnection: Int { 1 }
    var statistics: ServiceStatistics { ServiceStatistics() }
    func start(_ host: ServiceHost) { host.ready() }
    func serve(_ connection: IncomingConnection) {}
    func drain(spread: Duration) {}
    func closeAll() {}
}
