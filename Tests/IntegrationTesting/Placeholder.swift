import Foundation
import Transport

/// A TCP socket on 127.0.0.1 that holds a free port until it is closed.
final class Placeholder: Sendable {
    let address: SocketAddress
    let descriptor: Int32

    init(isListening: Bool) throws {
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let descriptor = socket(AF_INET, type, 0)
        self.descriptor = descriptor
        guard SocketAddress.ipv4(INADDR_LOOPBACK, port: 0).withSockaddr({ bind(descriptor, $0, $1) }) == 0 else {
            throw HarnessError.system("bind")
        }
        if isListening { listen(descriptor, 1) }
        var storage = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let bound = withUnsafeMutablePointer(to: &storage) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                getsockname(descriptor, address, &length)
                return SocketAddress(address, length: length)
            }
        }
        guard let bound else { throw HarnessError.system("getsockname") }
        address = bound
    }

    func close() {
        Glibc.close(descriptor)
    }

    /// A port that was free a moment ago, for a server that cannot choose one itself.
    static func freePort() throws -> UInt16 {
        let placeholder = try Placeholder(isListening: false)
        defer { placeholder.close() }
        return placeholder.address.port!
    }
}
