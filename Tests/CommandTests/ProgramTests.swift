import Glibc
import Testing
import Transport

@testable import Ringmaster
@testable import ringmaster

@Suite("exit codes")
struct ProgramTests {
    @Test(
        "arguments that make no sense end with 2",
        arguments: [
            ["dance"], ["echo", "--dance"], ["echo", "--workers"], ["echo", "--workers", "none"], ["echo"],
            ["echo", "--listen", "nowhere"], ["echo", "--listen", "127.0.0.1:0", "--backlog", "0"],
            ["proxy", "--listen", "127.0.0.1:0"], ["proxy", "--listen", "127.0.0.1:0", "--upstream", "127.0.0.1:0"],
            ["run"], ["run", "--config", "/nowhere"], ["check", "--config", "/nowhere"], ["run", "--workers", "2"],
        ])
    func badUsage(arguments: [String]) {
        #expect(RingmasterCommand.run(arguments) == .badUsage)
    }

    @Test("asking for help is no mistake", arguments: [["--help"], ["help"], ["proxy", "--help"], []])
    func help(arguments: [String]) {
        #expect(RingmasterCommand.run(arguments) == .success)
    }

    @Test("an address that is taken, or that no interface has, ends with 6")
    func cannotBind() throws {
        guard case .available = UringAvailability.probe() else { try Test.cancel("there is no io_uring here") }
        let taken = try Socket.listen(.ipv4(0x7f00_0001, port: 0), backlog: 1)
        defer { close(taken) }
        let address = try #require(Socket.localAddress(of: taken))
        for listen in ["\(address)", "192.0.2.1:7000"] {
            #expect(RingmasterCommand.run(["echo", "--listen", listen, "--workers", "1"]) == .cannotBind)
        }
    }
}
