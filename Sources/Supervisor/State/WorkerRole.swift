/// What part a slot plays in the pool.
enum WorkerRole: Sendable, Codable {
    /// None; it is vacant.
    case free
    /// It belongs to the generation that serves, takes traffic when ready, and is started again when it dies.
    case member
    /// It is to become a member when it, and those it comes with, are ready. No traffic until then.
    case candidate
    /// It is not wanted any more, and free once its process is gone.
    case retired
}
