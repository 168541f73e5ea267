import Glibc
import NIOCore

extension NIOCore.SocketAddress {
    /// Transport's address as SwiftNIO's.
    init(_ address: CoreAddress) {
        self = address.withSockaddr { pointer, _ in
            let raw = UnsafeRawPointer(pointer)
            switch address {
            case .ipv4: return NIOCore.SocketAddress(raw.loadUnaligned(as: sockaddr_in.self))
            case .ipv6: return NIOCore.SocketAddress(raw.loadUnaligned(as: sockaddr_in6.self))
            case .unix: return NIOCore.SocketAddress(raw.loadUnaligned(as: sockaddr_un.self))
            }
        }
    }
}

extension CoreAddress {
    /// SwiftNIO's address as Transport's.
    init(_ address: NIOCore.SocketAddress) {
        guard let address = address.withSockAddr({ CoreAddress($0, length: socklen_t($1)) }) else {
            preconditionFailure("SwiftNIO has addresses of three families only")
        }
        self = address
    }
}

extension IOError {
    /// Transport's error as SwiftNIO's.
    init(_ error: CoreError) {
        self.init(errnoCode: error.code, reason: error.call)
    }
}
