import ArgumentParser

/// `ringmaster reload`
struct ReloadCommand: ExitingCommand {
    static let configuration = CommandConfiguration(
        commandName: "reload", abstract: "Has a running ringmaster read its configuration again, as SIGHUP does.",
        discussion: """
            Returns when the new configuration serves, with exit code 0; or when it does not, with 1 and the reason: \
            then the old one goes on.
            """)

    @OptionGroup var control: ControlOptions

    mutating func serve() throws -> ExitCode { try control.perform(.reload) }
}
