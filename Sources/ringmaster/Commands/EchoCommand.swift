import ArgumentParser
import Handoff
import Services

/// `ringmaster echo`
struct EchoCommand: ExitingCommand {
    static let configuration = CommandConfiguration(
        commandName: "echo", abstract: "Sends every byte back.",
        discussion: "Example:\n  ringmaster echo --listen 127.0.0.1:7000 --workers 2")

    @OptionGroup var common: CommonOptions

    static let descriptorsPerConnection = 1

    mutating func serve() throws -> ExitCode {
        try Server(common, descriptorsPerConnection: Self.descriptorsPerConnection) { _ in EchoService() }.run()
    }
}
