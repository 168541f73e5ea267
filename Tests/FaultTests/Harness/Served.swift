import Testing
import Transport

@testable import IntegrationTesting

/// What a pool serves while it is broken. Either way clients get back what they sent.
final class Served {
    enum Kind: String, CaseIterable {
        case echo
        /// A proxy in front of an echo that nothing happens to.
        case proxy
    }

    let kind: Kind
    private let upstream: Ringmaster?

    init(_ kind: Kind) throws {
        self.kind = kind
        upstream = kind == .proxy ? try Ringmaster("echo", "--listen", "127.0.0.1:0", "--workers", "2") : nil
    }

    /// `ringmaster`'s first arguments.
    var arguments: [String] {
        [kind.rawValue] + (upstream.map { ["--upstream", "\($0.address)"] } ?? [])
    }

    /// A file that says the same, for so many workers.
    func configuration(workers: Int) -> (_ control: String) -> String {
        { [kind, upstream] control in
            """
            workers: \(workers)
            control: \(control)
            listeners:
              - listen: 127.0.0.1:0
                service: \(kind)
            """ + (upstream.map { "\n    upstream: \($0.address)" } ?? "") + "\n"
        }
    }

    /// Connections begun a second. Those to an upstream come from one address, which has 28,000 ports, and each keeps its
    /// port for a minute after its end.
    var churnRate: Int { kind == .proxy ? 300 : 2000 }

    /// Expects that the upstream, if there is one, has had a connection for each of these clients, and no other.
    func expectUpstream(hadConnections count: Int) throws {
        _ = try upstream?.stopped(afterAdopting: count)
    }

    func kill() { upstream?.kill() }
}
