import ArgumentParser
import Handoff
import Services

/// `ringmaster echo`
struct EchoCommand: ExitingCommand {
    static let configuration = CommandConfiguration(
        commandName: "echo", abstract: "Sends every byte back.",
        discussion: "Example:\n  ringmaster echo --listen 127.0.0.1:7000 --workers 2")

    @OptionGroup var common: CommonOptions

    mutating func serve() throws -> ExitCode {
        try Server(common, descriptorsPerConnection: 1) { _ in EchoService() }.run()
    }
}
