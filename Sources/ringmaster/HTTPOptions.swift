import ArgumentParser
import HTTPFiles
import NIOSSL
import Ringmaster
import RingmasterHummingbird
import Transport

/// `ringmaster http`, and what it is told.
struct HTTPOptions: ServiceOptions {
    static let kind = "http"
    static let abstract = "Serves a directory's files over HTTP/1.1 and, with TLS, HTTP/2."
    static let discussion = """
        Without options it serves the current directory on 127.0.0.1:8080. Files whose names begin with a dot are not \
        served, nor is what lies outside the directory. Where FILE.br or FILE.gz lies beside FILE, it is sent to clients \
        that take it. Certificates are read again by a reload.

        Examples:
          ringmaster http
          ringmaster http --root ./public --listen 0.0.0.0:8080 --access-log
          ringmaster http --root /srv/www --listen 0.0.0.0:443 --tls-certificate chain.pem --tls-key key.pem
        """
    static let listenDefault = ["127.0.0.1:8080"]

    @Option(
        name: .long,
        help: ArgumentHelp("The directory. \(EnvironmentArguments.note("root"))", valueName: "DIRECTORY"))
    var root: String = "."

    @Option(
        name: .long,
        help: ArgumentHelp(
            "Speak TLS, with the certificates in this file (PEM), the server's own first. \(EnvironmentArguments.note("tls-certificate"))",
            valueName: "FILE"))
    var tlsCertificate: String?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "The certificate's private key (PEM, not encrypted). \(EnvironmentArguments.note("tls-key"))",
            valueName: "FILE"))
    var tlsKey: String?

    @Flag(
        name: .long,
        help: "List directories that have no index.html. \(EnvironmentArguments.note("listing"))")
    var listing = false

    @Flag(
        name: .long,
        help: "Log each request, and each answer to what was none. \(EnvironmentArguments.note("access-log"))")
    var accessLog = false

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp(
            "A request's head takes at most this long, and so does a TLS handshake. \(EnvironmentArguments.note("header-timeout"))",
            valueName: "SECONDS"))
    var headerTimeout: Seconds = Seconds(10)

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp(
            "A connection on which nothing passes for this long is closed; one whose client does not read, within twice as long. \(EnvironmentArguments.note("idle-timeout"))",
            valueName: "SECONDS"))
    var idleTimeout: Seconds = Seconds(60)

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp(
            "The most that a request's head of HTTP/1.1 may have. \(EnvironmentArguments.note("header-max"))",
            valueName: "KIB"))
    var headerMax: Int = 32

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp(
            "The most that a request's body may have. \(EnvironmentArguments.note("body-max"))", valueName: "KIB"))
    var bodyMax: Int = 1024

    static let headerKibibytesMax = 1024
    static let bodyKibibytesMax = 1 << 30

    mutating func validate() throws {
        for (name, value) in [("header-timeout", headerTimeout), ("idle-timeout", idleTimeout)]
        where value.duration == .zero {
            throw ValidationError("--\(name) 0 makes no sense: give a positive number of seconds")
        }
        for (name, value, range) in [
            ("header-max", headerMax, 1...Self.headerKibibytesMax), ("body-max", bodyMax, 0...Self.bodyKibibytesMax),
        ] where !range.contains(value) {
            throw ValidationError(
                "--\(name) \(value) is out of range: give a number from \(range.lowerBound) to \(range.upperBound)")
        }
    }

    func checkComplete() throws(CommandError) {
        switch (tlsCertificate, tlsKey) {
        case (nil, .some): throw CommandError("--tls-certificate is missing: --tls-key needs one")
        case (.some, nil): throw CommandError("--tls-key is missing: --tls-certificate needs one")
        case (nil, nil), (.some, .some): break
        }
    }

    /// The connection's own, and a file's. The many that an HTTP/2 connection may have are bounded where they are opened.
    var descriptorsPerConnection: Int { 2 }

    func checkReachable() throws(CommandError) {
        do {
            try website.check()
        } catch {
            throw CommandError("--root \(root): \(error)")
        }
        _ = try certificate?.configuration()
    }

    private var certificate: CertificateFiles? {
        guard let tlsCertificate, let tlsKey else { return nil }
        return CertificateFiles(certificate: tlsCertificate, key: tlsKey)
    }

    private var website: Website {
        var website = Website(root: root)
        website.lists = listing
        website.logsRequests = accessLog
        website.bodyMax = bodyMax * 1024
        return website
    }

    private var limits: HTTPLimits {
        var limits = HTTPLimits()
        limits.headTimeout = headerTimeout.duration
        limits.idleTimeout = idleTimeout.duration
        limits.headBytesMax = headerMax * 1024
        limits.bodyBytesMax = bodyMax * 1024
        return limits
    }

    func makeService(_ context: ServiceContext) throws -> any Service {
        var limits = limits
        if accessLog {
            let log = RequestLog(logger: context.logger)
            limits.refused = { log.writeRefused(status: $0, client: $1) }
        }
        let answers = try website.answers(logger: context.logger)
        let connections: HTTPConnections =
            if let certificate {
                .http2(try Self.read(certificate), limits: limits)
            } else {
                .http1(limits: limits, immediate: answers.immediate)
            }
        return HummingbirdService.make(
            router: answers.router, connections: connections,
            descriptorsPerConnection: descriptorsPerConnection, logger: context.logger)
    }

    /// As they are when a worker starts. One that finds them half renewed is no reason to try no other.
    private static func read(_ certificate: CertificateFiles) throws(CommandError) -> TLSConfiguration {
        do throws(CommandError) {
            return try certificate.configuration()
        } catch {
            throw CommandError(.serviceFailed, error.message)
        }
    }
}
