import Ringmaster
import Services
import Transport

/// `ringmaster echo`, which needs to be told nothing.
struct EchoOptions: ServiceOptions {
    static let kind = "echo"
    static let abstract = "Sends every byte back."
    static let discussion = "Example:\n  ringmaster echo --listen 127.0.0.1:7000 --workers 2"

    func makeService(_ context: ServiceContext) -> any Service { EchoService() }
}
