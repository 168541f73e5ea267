import Handoff
import Transport

/// A listener as the supervisor is to bind it. Two configurations mean the same listener when the addresses are equal.
public struct ListenerPlan: Hashable, Sendable, Codable {
    /// Where to listen, nothing left to look up. Port 0 has the kernel choose one; such listeners are equal too, so that
    /// a reload keeps them.
    public var address: SocketAddress
    /// The name of the service that its connections get, such as `echo`.
    public var kind: String
    /// Connections that the kernel holds until they are accepted, 1 to 65,535.
    public var backlog: Int32

    /// A listener of one address.
    public init(address: SocketAddress, kind: String, backlog: Int32) {
        precondition(backlog >= 1, "a backlog is at least 1")
        self.address = address
        self.kind = kind
        self.backlog = backlog
    }
}

/// What a supervisor serves: the outcome of reading, checking and resolving the user's options or configuration file.
public struct SupervisorPlan: Sendable {
    /// What its decisions depend on.
    public var configuration: SupervisorConfiguration
    /// What it listens on, at least one, in the configuration's order, which is the order in which a worker is told the ids.
    public var listeners: [ListenerPlan]
    /// Descriptors that one connection needs in a worker at most, whichever listener it came by.
    public var descriptorsPerConnection: Int
    /// The configuration's text, for the workers, which read it again; empty when the command line says it all.
    public var text: [UInt8]

    /// A plan that has been checked.
    public init(
        configuration: SupervisorConfiguration, listeners: [ListenerPlan], descriptorsPerConnection: Int, text: [UInt8]
    ) {
        precondition(!listeners.isEmpty, "a supervisor listens somewhere")
        precondition(descriptorsPerConnection >= 1)
        self.configuration = configuration
        self.listeners = listeners
        self.descriptorsPerConnection = descriptorsPerConnection
        self.text = text
    }
}

/// Why something cannot be started or reloaded: one sentence for the operator, and what a process that cannot go on
/// without it exits with.
public struct PlanError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What the process exits with, if this ends it.
    public var exitCode: ExitCode
    /// What is wrong and how to mend it, in one line.
    public var sentence: String

    /// An error with its sentence.
    public init(_ exitCode: ExitCode, _ sentence: String) {
        self.exitCode = exitCode
        self.sentence = sentence
    }

    /// The sentence.
    public var description: String { sentence }
}

/// Makes the plan anew, for a reload: reads and checks everything, binds nothing. An error leaves things as they are.
///
/// It may take as long as a resolver takes, so it may be called on any thread; the loop's would accept nothing meanwhile.
///
/// - Parameter inForce: the text of the plan in force, which the new one is compared with: some options cannot change
///   while the supervisor runs.
public typealias ReloadSource = @Sendable (_ inForce: [UInt8]) -> Result<SupervisorPlan, PlanError>
