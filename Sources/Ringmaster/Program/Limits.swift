import Handoff
import Supervisor
import Transport

/// Fits the number of connections to the descriptors that this process and its workers may open.
struct Limits {
    let descriptorsPerConnection: Int
    /// Listening sockets, which the supervisor holds besides the connections.
    var listeners = 0

    /// Connections allowed when nothing is asked for, if the descriptors suffice.
    static let connectionsDefault = 100_000

    /// Raises the soft limits to the hard ones, and returns how many connections are allowed, all workers together.
    func connectionsMax(asked: Int?, workers: Int) throws(CommandError) -> Int {
        let limit = ResourceLimit.raiseSoftToHard(.openFiles).new.soft
        return try connectionsMax(asked: asked, workers: workers, openFiles: Int(clamping: limit))
    }

    /// The same for a given limit of open files per process.
    func connectionsMax(asked: Int?, workers: Int, openFiles: Int) throws(CommandError) -> Int {
        if let asked {
            let needed = need(asked, workers: workers)
            guard needed <= openFiles else {
                throw CommandError(
                    .limitTooLow,
                    "--max-connections \(asked) with \(counted(workers, "worker")) needs \(needed) open files per process, and "
                        + "RLIMIT_NOFILE is \(openFiles): raise it with ulimit -n \(needed), or lower --max-connections"
                )
            }
            return asked
        }
        let least = need(workers, workers: workers)
        guard openFiles >= least else {
            throw CommandError(
                .limitTooLow,
                "\(counted(workers, "worker")) \(workers == 1 ? "needs" : "need") \(least) open files per process, and RLIMIT_NOFILE is \(openFiles): raise it with "
                    + "ulimit -n \(least)\(workers == 1 ? "" : ", or start fewer workers")")
        }
        let perWorker = (openFiles - DescriptorNeed.reserve - DescriptorNeed.pipeEnds) / descriptorsPerConnection
        return min(Self.connectionsDefault, perWorker * workers)
    }

    private func need(_ connections: Int, workers: Int) -> Int {
        DescriptorNeed.descriptorsNeeded(
            connectionsMax: connections, workers: workers, perConnection: descriptorsPerConnection,
            listeners: listeners)
    }
}
