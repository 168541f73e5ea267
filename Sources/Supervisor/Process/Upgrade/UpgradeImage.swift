import FoundationEssentials
import Glibc
import Handoff
import Transport

/// A supervisor between two programs of one process: everything that the next one goes on with.
///
/// It travels as JSON in a sealed memfd whose number is in the environment. Keys that a program does not know are
/// ignored and new ones are optional, so that versions can differ; when that is not enough, ``format`` changes.
public struct UpgradeImage: Codable {
    /// The environment variable with the memfd's number.
    public static let variable = "RINGMASTER_INTERNAL_UPGRADE"
    /// What this program writes and reads.
    public static let formatCurrent = 1
    /// The largest image, in bytes: room for what the supervisor may hold (``SocketStore/stateBytesMax``) and for 100,000
    /// sockets on their way.
    static let sizeMax = 1 << 28

    /// The configuration of a generation that still has workers or is about to.
    struct Configuration: Codable {
        var text: [UInt8]
        var listeners: [UInt16]
        var descriptorsPerConnection: Int
        var connectionsMax: Int
    }

    struct Page: Codable {
        var slot: Int
        var descriptor: Int32
        var progress: SupervisorPage.Progress
    }

    /// A socket on its way to a worker. Who the peer is can be asked of the socket.
    struct Held: Codable {
        var descriptors: [Int32]
        var listener: UInt16
        var peer: SocketAddress
        var acceptedAt: MonotonicTime
        /// Of a connection that a worker gave up. As data, which JSON has a short form for.
        var state: Data?
    }

    /// A reload, and who waits to hear what becomes of it; nil for nobody.
    struct Reload: Codable, Equatable {
        var command: CommandID?
    }

    /// Why the program that was upgraded to gave the process back; nil on the way there.
    struct Return: Codable {
        var reason: String
    }

    var format = UpgradeImage.formatCurrent
    var state: SupervisorState
    var listeners: [ListenerTable.Entry]
    var listenerIDNext: UInt16
    var held: [Held]
    var workers: [WorkerHandle.Inheritance]
    var pages: [Page]
    var lastWords: [LastWords]
    var configurations: [Generation: Configuration]
    var control: ControlInheritance?
    /// Who waits to hear what becomes of the upgrade; nil for nobody.
    var command: CommandID?
    var startedAt: Int64
    /// How the kernel is reached. Not decided again: what the old workers hold would count against the new ones.
    public var loopKind: LoopKind
    /// The file of the program that came before, which runs again if the next one fails.
    var formerProgram: Int32
    /// What that program was started with, and the name of its file.
    var arguments: [String]
    var environment: [String]
    /// The name of its file.
    public var programPath: String
    /// The reload that was asked for meanwhile.
    var reloadWaiting: Reload?
    var returned: Return?
    /// The newest version of the hand-off protocol that this program speaks.
    var handoffVersion = Packet.version

    /// Whether the program that was upgraded to has given the process back to this one.
    public var isReturn: Bool { returned != nil }

    /// What is being served, without looking at what files say by now.
    public var planInForce: SupervisorPlan {
        guard let configuration = configurations[state.generation] else {
            preconditionFailure("the generation that serves has a configuration")
        }
        return SupervisorPlan(
            configuration: state.configuration, listeners: listeners.filter(\.isServing).map(\.plan),
            descriptorsPerConnection: configuration.descriptorsPerConnection, text: configuration.text)
    }

    /// Every descriptor that must survive the exec.
    var descriptors: [Int32] {
        listeners.map(\.descriptor) + held.flatMap(\.descriptors) + workers.flatMap(\.descriptors)
            + pages.map(\.descriptor) + (control?.descriptors ?? []) + [formerProgram]
    }

    /// Writes the image to a sealed memfd, which the caller closes.
    func seal() throws -> Int32 {
        let bytes = Array(try JSONEncoder().encode(self))
        guard bytes.count <= Self.sizeMax else {
            throw PlanError(
                .internalError,
                "the supervisor's state has \(bytes.count) bytes, and at most \(Self.sizeMax) can be carried")
        }
        return try SealedMemory.make(bytes, name: "ringmaster-upgrade")
    }

    /// Reads the image in a memfd, which stays open.
    ///
    /// - Throws: a ``PlanError`` with a sentence, when this program cannot go on from there.
    public static func read(_ descriptor: Int32) throws(PlanError) -> UpgradeImage {
        do {
            let data = Data(try SealedMemory.read(descriptor, sizeMax: sizeMax))
            // First: what another format has, need not be what this one has.
            let format = try JSONDecoder().decode(Format.self, from: data).format
            guard format == formatCurrent else {
                throw PlanError(
                    .badUsage,
                    "the running supervisor's state has format \(format), and this program knows \(formatCurrent): "
                        + "restart instead of upgrading")
            }
            let image = try JSONDecoder().decode(UpgradeImage.self, from: data)
            if let worker = image.workers.first(where: { !(Packet.versionMin...Packet.version ~= $0.version) }) {
                throw PlanError(
                    .badUsage,
                    "a running worker speaks version \(worker.version) of the hand-off protocol, and this program at most "
                        + "\(Packet.version): restart instead of upgrading")
            }
            guard image.configurations[image.state.generation] != nil else {
                throw PlanError(.internalError, "it has no configuration of the generation that serves")
            }
            return image
        } catch let error as PlanError where error.exitCode == .badUsage {
            throw error
        } catch {
            throw PlanError(.internalError, "the running supervisor's state makes no sense to this program: \(error)")
        }
    }

    private struct Format: Decodable {
        var format: Int
    }

    /// Makes this process the program `path`, which finds this image in the memfd. Returns, with the error, only when that
    /// failed; then nothing has changed.
    func handOver(_ descriptor: Int32, to path: String, _ launcher: WorkerLauncher) -> String {
        let inherited = descriptors + [descriptor]
        for number in inherited { _ = fcntl(number, F_SETFD, 0) }
        let code = launcher.replaceSelf(path, adding: "\(Self.variable)=\(descriptor)")
        for number in inherited { _ = fcntl(number, F_SETFD, FD_CLOEXEC) }
        return "execve \(path): \(String(cString: strerror(code)))"
    }

    /// As it goes back to the program that this process was before.
    func returning(_ reason: String) -> UpgradeImage {
        var image = self
        image.returned = Return(reason: reason)
        return image
    }

    /// The file of the program that came before, whatever its name is by now, and its command line.
    var formerPath: String { "/proc/self/fd/\(formerProgram)" }
    var formerLauncher: WorkerLauncher { WorkerLauncher(arguments: arguments, environment: environment) }

    /// Makes this process the program again that it was before, which goes on with what it had. Returns, with the error,
    /// only when even that failed.
    public func giveBack(reason: String) -> String {
        let image = returning(reason)
        do {
            let descriptor = try image.seal()
            defer { close(descriptor) }
            return image.handOver(descriptor, to: formerPath, formerLauncher)
        } catch {
            return "\(error)"
        }
    }
}
