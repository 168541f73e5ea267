import CNetlink
import Glibc

/// How many connections wait at a listener for the supervisor to accept them: it stops accepting when no worker has
/// room, and what comes then gathers here.
public struct AcceptQueue: Codable, Hashable, Sendable {
    /// Connections that wait for accept(2).
    public var depth: Int
    /// The backlog in effect: what listen(2) was given, cut to `net.core.somaxconn`. The kernel refuses no sooner than when one
    /// more than this waits.
    public var limit: Int
    /// What the kernel has thrown away at this TCP listener since it began to listen (SK_MEMINFO_DROPS), modulo 2³²: SYNs and
    /// last ACKs of handshakes for which the queue had no room, and some that came malformed or for which there was no
    /// memory. Packets, not connections: a client sends its SYN again for a minute or two, and each is counted. Nil when
    /// the kernel does not tell, as of every Unix-domain listener: there connect(2) waits or fails with EAGAIN, and
    /// nobody counts it.
    public var drops: Int?

    /// An accept queue.
    public init(depth: Int, limit: Int, drops: Int?) {
        self.depth = depth
        self.limit = limit
        self.drops = drops
    }
}

/// The accept queues of listening sockets, read from the kernel by sock_diag(7).
///
/// It takes no capability for sockets of the process's own network namespace. Where the kernel does not tell all the
/// same (no diag module and none can be loaded, a sandbox), the queues are nil and `problem` says why.
public struct AcceptQueues: Sendable {
    /// In the order of the sockets asked for; nil for one that the kernel did not tell of.
    public var queues: [AcceptQueue?]
    /// Why some are not known, in a sentence; nil when nothing failed.
    public var problem: String?

    /// Reads the queues of the given TCP or Unix-domain listeners. Takes a few system calls, and a few more per Unix-domain
    /// listener; any thread.
    public static func read(sockets: [Int32]) -> AcceptQueues {
        var result = AcceptQueues(queues: Array(repeating: nil, count: sockets.count), problem: nil)
        for family in [AF_INET, AF_INET6, AF_UNIX] {
            let positions = sockets.indices.filter { option(SO_DOMAIN, of: sockets[$0], as: Int32.self) == family }
            guard !positions.isEmpty else { continue }
            var found = positions.map { request(for: sockets[$0]) }
            let failure = family == AF_UNIX ? readUnix(&found) : cnetlink_tcp_queues(family, &found, found.count)
            if failure < 0 {
                result.problem = "the kernel does not tell: sock_diag: \(String(cString: strerror(-failure)))"
            }
            for (position, queue) in zip(positions, found) where queue.is_known != 0 {
                result.queues[position] = AcceptQueue(queue)
            }
        }
        return result
    }

    /// The last failure, or 0.
    private static func readUnix(_ queues: inout [cnetlink_queue]) -> Int32 {
        var failure: Int32 = 0
        for index in queues.indices {
            let result = cnetlink_unix_queue(&queues[index])
            if result < 0 { failure = result }
        }
        return failure
    }

    private static func request(for socket: Int32) -> cnetlink_queue {
        var queue = cnetlink_queue()
        queue.cookie = option(SO_COOKIE, of: socket, as: UInt64.self) ?? 0
        var status = stat()
        if fstat(socket, &status) == 0 { queue.inode = UInt32(truncatingIfNeeded: status.st_ino) }
        return queue
    }

    private static func option<Value: FixedWidthInteger>(
        _ option: Int32, of socket: Int32, as type: Value.Type
    ) -> Value? {
        var value: Value = 0
        var length = socklen_t(MemoryLayout<Value>.size)
        return getsockopt(socket, SOL_SOCKET, option, &value, &length) == 0 ? value : nil
    }
}

extension AcceptQueue {
    init(_ queue: cnetlink_queue) {
        self.init(
            depth: Int(queue.depth), limit: Int(queue.limit), drops: queue.has_drops != 0 ? Int(queue.drops) : nil)
    }
}
