import Logging

/// What a service is told about the worker that it is made in.
public struct ServiceContext: Sendable {
    /// Writes to the supervisor's log, in the format and from the level on that the options say.
    public var logger: Logger
    /// The worker's place among the workers, counted from 0. A successor started beside its predecessor has another one.
    public var slot: Int
    /// Which process in that place it is, counted from 0.
    public var incarnation: UInt32

    /// A context, for whoever tests a service's options.
    public init(logger: Logger, slot: Int = 0, incarnation: UInt32 = 0) {
        self.logger = logger
        self.slot = slot
        self.incarnation = incarnation
    }
}
