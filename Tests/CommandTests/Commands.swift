@testable import Ringmaster
@testable import ringmaster

typealias Root = RootCommand<RingmasterCommand>
typealias EchoCommand = ServeCommand<RingmasterCommand, EchoOptions>
typealias HTTPCommand = ServeCommand<RingmasterCommand, HTTPOptions>
typealias ProxyCommand = ServeCommand<RingmasterCommand, ProxyOptions>

extension PlanReader {
    /// Of a file with ringmaster's services.
    init(name: String) {
        self.init(name: name, services: RingmasterCommand.services)
    }
}
