import Glibc

/// Descriptors held back for starting workers. A burst of connections may take every other one; without these a dead
/// worker could then not be replaced, and nobody would ever take the connections.
struct DescriptorReserve {
    /// For one start, at its height: a socket pair, a pipe, the page, the configuration, and the five copies that the child
    /// inherits.
    static let perStart = 11
    /// What a started worker keeps: its socket, its pipe, its page and its process.
    static let perWorker = 4

    private var held: [Int32] = []
    /// For how many workers it was filled last.
    private var workerCount = 0

    /// Frees what is held, for the calls that follow in this turn: nothing is accepted meanwhile.
    mutating func release() {
        for fd in held { close(fd) }
        held.removeAll(keepingCapacity: true)
    }

    /// Frees what one start takes, and no more: hundreds of workers may be started in one turn.
    mutating func releaseOneStart() {
        for fd in held.suffix(Self.perStart + Self.perWorker) { close(fd) }
        held.removeLast(min(held.count, Self.perStart + Self.perWorker))
    }

    /// Holds back more or fewer when so many workers are wanted by now.
    mutating func adapt(workerCount: Int) {
        if workerCount != self.workerCount { refill(workerCount: workerCount) }
    }

    /// Holds back as many as there are, up to what it takes to start so many workers beside those that run.
    mutating func refill(workerCount: Int) {
        self.workerCount = workerCount
        let size = Self.perStart + Self.perWorker * workerCount
        while held.count > size { close(held.removeLast()) }
        while held.count < size {
            let fd = open("/dev/null", O_RDONLY | O_CLOEXEC)
            guard fd >= 0 else { return }
            held.append(fd)
        }
    }
}
