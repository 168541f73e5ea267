import Transport

/// The server's address as a user writes it.
enum TargetAddress {
    static func resolve(_ text: String) throws(LoadError) -> SocketAddress {
        do {
            if let address = try SocketAddress(unixText: text) { return address }
            let target = try HostAndPort(parsing: text)
            guard target.port > 0 else { throw LoadError(.usage, "\(text): nobody listens on port 0") }
            if let address = target.numericAddress { return address }
            return try HostLookup.addresses(of: target.host, port: target.port)[0]
        } catch let error as LoadError {
            throw error
        } catch {
            throw LoadError(.usage, "\(error)")
        }
    }
}
