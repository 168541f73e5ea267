/// A program with one service, which is what it does when it is started with options and no command. This is one:
///
///     @main struct LineServer: RingmasterApplication {
///         static let name = "line-server"
///         func makeService(_ context: ServiceContext) -> any Service { LineService() }
///     }
///
/// `line-server --listen 127.0.0.1:7000 --workers 4` serves; `line-server status`, `reload`, `upgrade`, `scale`, `drain`,
/// `stop`, `check` and `run` are as with `ringmaster`, and `line-server --help` tells all of it. Options of its own are
/// properties with `@Option` or `@Flag`: see ``ServiceOptions``.
public protocol RingmasterApplication: RingmasterProgram, ServiceOptions {}

extension RingmasterApplication {
    /// The program's name.
    public static var kind: String { name }

    /// Itself.
    public static var services: [any ServiceOptions.Type] { [Self.self] }

    /// That it serves.
    public static var abstract: String { "Serves network connections with several worker processes." }

    /// Nothing more to say.
    public static var discussion: String { "" }
}
