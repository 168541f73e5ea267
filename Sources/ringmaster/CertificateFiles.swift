import Glibc
import NIOSSL
import Ringmaster

/// A server's certificates and the private key of the first, in PEM files.
struct CertificateFiles {
    let certificate: String
    let key: String

    /// Reads them as they are now.
    ///
    /// - Throws: which file cannot be used, and why.
    func configuration() throws(CommandError) -> TLSConfiguration {
        try Self.checkReadable("--tls-certificate", certificate)
        try Self.checkReadable("--tls-key", key)
        let chain = try Self.load("--tls-certificate \(certificate)", "it holds no certificate in PEM") {
            try NIOSSLCertificate.fromPEMFile(certificate)
        }
        guard !chain.isEmpty else {
            throw CommandError("--tls-certificate \(certificate): it holds no certificate in PEM")
        }
        let privateKey = try Self.load("--tls-key \(key)", "it holds no private key in PEM that is not encrypted") {
            try NIOSSLPrivateKey(file: key, format: .pem) { (_: NIOSSLPassphraseSetter<[UInt8]>) in throw Encrypted() }
        }
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(privateKey))
        configuration.minimumTLSVersion = .tlsv12
        _ = try Self.load("--tls-key \(key)", "it is not the key of the certificate in \(certificate)") {
            try NIOSSLContext(configuration: configuration)
        }
        return configuration
    }

    private static func checkReadable(_ option: String, _ path: String) throws(CommandError) {
        guard access(path, R_OK) == 0 else {
            throw CommandError("\(option) \(path): \(String(cString: strerror(errno)))")
        }
    }

    private struct Encrypted: Error {}

    private static func load<Value>(
        _ option: String, _ otherwise: String, _ load: () throws -> Value
    ) throws(CommandError) -> Value {
        do {
            return try load()
        } catch {
            throw CommandError("\(option): \(otherwise)")
        }
    }
}
