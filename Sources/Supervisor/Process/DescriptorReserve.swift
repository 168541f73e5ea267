import Glibc

/// Descriptors held back for starting workers. A burst of connections may take every other one; without these a dead
/// worker could then not be replaced, and nobody would ever take the connections.
struct DescriptorReserve {
    /// For one start: the socket pair, its copies and the child's, the process's descriptor, and some to spare.
    private static let perStart = 8
    /// What a started worker keeps: its socket and its process.
    private static let perWorker = 2

    private let size: Int
    private var held: [Int32] = []

    init(workerCount: Int) {
        size = Self.perStart + Self.perWorker * workerCount
        refill()
    }

    /// Frees what is held, for the calls that follow in this turn: nothing is accepted meanwhile.
    mutating func release() {
        for fd in held { close(fd) }
        held.removeAll(keepingCapacity: true)
    }

    /// Holds back as many as there are, up to the size.
    mutating func refill() {
        while held.count < size {
            let fd = open("/dev/null", O_RDONLY | O_CLOEXEC)
            guard fd >= 0 else { return }
            held.append(fd)
        }
    }
}
