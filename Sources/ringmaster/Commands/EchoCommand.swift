import ArgumentParser

/// `ringmaster echo`
struct EchoCommand: ExitingCommand {
    static let configuration = CommandConfiguration(
        commandName: "echo", abstract: "Sends every byte back.",
        discussion: "Example:\n  ringmaster echo --listen 127.0.0.1:7000 --workers 2")

    @OptionGroup var listen: ListenOptions
    @OptionGroup var common: CommonOptions

    mutating func serve() throws -> ExitCode {
        let plan = try Plan(listen, common, .echo)
        return try Server { _ in plan }.run()
    }
}
