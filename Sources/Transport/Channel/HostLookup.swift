import Glibc

/// Why a host name has no address.
public enum HostLookupError: Error, Hashable, Sendable {
    /// The resolver's answer for `host`: a code of getaddrinfo(3) and its text.
    case failed(host: String, code: Int32, text: String)
    /// Too many names wait to be looked up; try again later.
    case queueFull(host: String)
    /// The resolver was stopped before `host` was looked up.
    case stopped(host: String)
}

extension HostLookupError: CustomStringConvertible {
    /// One line: the name and what the resolver said.
    public var description: String {
        switch self {
        case .failed(let host, _, let text): "cannot resolve '\(host)': \(text)"
        case .queueFull(let host): "cannot look up '\(host)' now: too many names are waiting"
        case .stopped(let host): "'\(host)' was not looked up: the resolver was stopped"
        }
    }
}

/// Asking the system's resolver.
public enum HostLookup {
    /// The most addresses taken from one answer; what comes after is left out.
    public static let addressesMax = 64

    /// The addresses of `host`, each once, in the resolver's order of preference (getaddrinfo(3), `gai.conf`), with `port`.
    ///
    /// Blocks until the resolver answers, which may take many seconds: never on a loop's thread. The answer is not empty.
    public static func addresses(of host: String, port: UInt16) throws(HostLookupError) -> [SocketAddress] {
        var hints = addrinfo()
        hints.ai_family = AF_UNSPEC
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(host, nil, &hints, &list)
        guard code == 0 else { throw failure(host, code) }
        defer { freeaddrinfo(list) }
        var addresses: [SocketAddress] = []
        var next = list
        while let entry = next, addresses.count < addressesMax {
            next = entry.pointee.ai_next
            guard let raw = entry.pointee.ai_addr,
                let address = SocketAddress(raw, length: entry.pointee.ai_addrlen)?.withPort(port),
                !addresses.contains(address)
            else { continue }
            addresses.append(address)
        }
        guard !addresses.isEmpty else { throw failure(host, EAI_NONAME) }
        return addresses
    }

    private static func failure(_ host: String, _ code: Int32) -> HostLookupError {
        let text = code == EAI_SYSTEM ? strerror(errno) : UnsafeMutablePointer(mutating: gai_strerror(code))
        return .failed(host: host, code: code, text: text.map { String(cString: $0) } ?? "error \(code)")
    }
}
