import ArgumentParser
import Transport

/// Where a service on the command line, or a listener in a configuration file, listens.
struct ListenOptions: NamedOptions {
    @Option(
        name: .long, parsing: .singleValue,
        help: ArgumentHelp(
            "Where to listen; repeatable. Port 0 takes a free port, shown in the log. \(variable("listen"))",
            valueName: "HOST:PORT|[V6]:PORT|unix:/path"))
    var listen: [String] = []

    static let names = [OptionName("listen", .list)]
    static let listenersMax = 256

    func checkValues() throws(CommandError) {
        guard listen.count <= Self.listenersMax else {
            throw CommandError(
                .badUsage, "--listen is given \(listen.count) times: \(Self.listenersMax) listeners are the most")
        }
        _ = try parsed()
    }

    /// The addresses in the order in which they are given.
    func addresses() throws(CommandError) -> [ListenAddress] {
        guard !listen.isEmpty else {
            throw CommandError(
                .badUsage, "--listen is missing: say where to listen, for example --listen 127.0.0.1:7000")
        }
        try checkValues()
        return try parsed()
    }

    private func parsed() throws(CommandError) -> [ListenAddress] {
        var addresses: [ListenAddress] = []
        for text in listen {
            do throws(AddressSyntaxError) {
                addresses.append(try ListenAddress(parsing: text))
            } catch {
                throw CommandError(.badUsage, "--listen \(error)")
            }
        }
        return addresses
    }
}
