import ArgumentParser
import Transport

/// Where a service on the command line, or a listener in a configuration file, listens.
struct ListenOptions: ParsableArguments {
    @Option(
        name: .long, parsing: .singleValue,
        help: ArgumentHelp(
            "Where to listen; repeatable. Port 0 takes a free port, shown in the log. \(EnvironmentArguments.note("listen"))",
            valueName: "HOST:PORT|[V6]:PORT|unix:/path"))
    var listen: [String] = []

    static let listenersMax = 256

    mutating func validate() throws {
        guard listen.count <= Self.listenersMax else {
            throw ValidationError(
                "--listen is given \(listen.count) times: \(Self.listenersMax) listeners are the most")
        }
        _ = try Self.parsed(listen)
    }

    /// The addresses in the order in which they are given; `texts` if none is.
    func addresses(default texts: [String] = []) throws(CommandError) -> [ListenAddress] {
        let texts = listen.isEmpty ? texts : listen
        guard !texts.isEmpty else {
            throw CommandError(
                .badUsage, "--listen is missing: say where to listen, for example --listen 127.0.0.1:7000")
        }
        do {
            return try Self.parsed(texts)
        } catch {
            throw CommandError(error.message)
        }
    }

    private static func parsed(_ texts: [String]) throws(ValidationError) -> [ListenAddress] {
        var addresses: [ListenAddress] = []
        for text in texts {
            do throws(AddressSyntaxError) {
                addresses.append(try ListenAddress(parsing: text))
            } catch {
                throw ValidationError("--listen \(error)")
            }
        }
        return addresses
    }
}
