import ArgumentParser

/// The load generator.
@main
struct Ringload: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ringload",
        abstract: "Puts a server under load, verifies what comes back, and tells how fast it was.",
        discussion: """
            Exits with 0 when all went well; 1 when a connection failed or was lost, a message was not answered or did not verify, \
            one that was due was skipped, or nothing was measured: lines that begin with "failed" say which and what to do; 64 for a \
            wrong option; 71 for want of descriptors or of io_uring, or when the result could not be written to its file.
            """,
        subcommands: [ClosedCommand.self, OpenCommand.self, ChurnCommand.self, IdleCommand.self, BulkCommand.self])

    static func main() {
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch let error as LoadError {
            Terminal.complain(error.message)
            exit(withError: ExitCode(error.kind.rawValue))
        } catch {
            exit(withError: error)
        }
    }
}
