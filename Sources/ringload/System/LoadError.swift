/// Why there is no run: one line that says how to mend it, and the exit code that goes with it.
struct LoadError: Error, Equatable {
    enum Kind: Int32 {
        /// EX_USAGE of sysexits.h, as the argument parser has it.
        case usage = 64
        /// EX_OSERR: a limit of the system, or no ring.
        case system = 71
    }

    var kind: Kind
    var message: String

    init(_ kind: Kind, _ message: String) {
        self.kind = kind
        self.message = message
    }
}
