/// Who may import whom: the order of DESIGN.md section 1, and the same for what is not ours.
enum ImportRules {
    /// What the system brings. Foundation is for tests: a library does without it, but for FoundationEssentials' JSON where the
    /// supervisor speaks with its operator.
    private static let system: Set<String> = ["Glibc", "Synchronization"]
    private static let testing: Set<String> = ["Foundation", "Testing"]

    /// What each target under Sources may import besides `system`. A target that is missing here may import nothing.
    static let allowed: [String: Set<String>] = [
        "Transport": ["CRing", "CSocket"],
        "Handoff": ["Transport", "CSocket"],
        "Supervisor": ["Handoff", "Transport", "CSocket", "CNetlink", "Logging", "FoundationEssentials"],
        "Worker": ["Handoff", "Transport", "CSocket", "Logging"],
        "Services": ["Transport", "Logging"],
        "Ringmaster": ["Supervisor", "Worker", "Handoff", "Transport", "Logging", "ArgumentParser", "Yams"],
        "RingmasterNIO": ["Transport", "NIOCore", "Dispatch"],
        "RingmasterHummingbird": [
            "Transport", "RingmasterNIO", "NIOCore", "NIOHPACK", "NIOHTTP1", "NIOHTTP2", "NIOTLS", "NIOHTTPTypes",
            "NIOHTTPTypesHTTP1", "NIOHTTPTypesHTTP2", "NIOSSL", "Logging", "HTTPTypes", "Hummingbird",
            "HummingbirdCore", "HummingbirdHTTP2", "ServiceLifecycle",
        ],
        "HTTPFiles": [
            "RingmasterHummingbird", "Transport", "CSocket", "NIOCore", "NIOHTTP1", "NIOPosix", "Logging", "HTTPTypes",
            "Hummingbird", "FoundationEssentials",
        ],
        "ringmaster": [
            "Ringmaster", "Services", "Transport", "ArgumentParser", "HTTPFiles", "RingmasterHummingbird", "NIOSSL",
        ],
        "ringload": ["Transport", "CSocket", "ArgumentParser", "Histogram"],
    ]

    /// What an example may import besides `system`: what its reader is offered.
    private static let products: Set<String> = ["Transport", "Ringmaster", "RingmasterNIO", "RingmasterHummingbird"]

    /// What an example may import of other packages, by the example's directory.
    private static let exampleImports: [String: Set<String>] = [
        "API": ["Hummingbird", "HTTPTypes"],
        "GRPC": ["GRPCCore", "GRPCNIOTransportHTTP2Posix", "Logging", "NIOCore"],
        "NIOLineServer": ["NIOCore"],
        "WebSocketChat": ["NIOCore", "NIOHTTP1", "NIOWebSocket"],
    ]

    /// Test targets that test no single target, and what they may import besides `system` and `testing`.
    private static let ownTests: [String: Set<String>] = [
        "TidyTests": [],
        "Benchmarks": [
            "Ringmaster", "Transport", "RingmasterNIO", "RingmasterHummingbird", "NIOCore", "NIOPosix", "NIOSSL",
            "Hummingbird", "HummingbirdHTTP2", "Logging",
        ],
        "RingmasterNIOTests": [
            "RingmasterNIO", "Transport", "TransportTesting", "NIOCore", "NIOPosix", "NIOHTTP1", "NIOExtras",
            "NIOConcurrencyHelpers", "NIOTLS", "Dispatch",
        ],
        "RingmasterHummingbirdTests": [
            "RingmasterHummingbird", "RingmasterNIO", "Transport", "TransportTesting", "NIOCore", "NIOEmbedded",
            "NIOHPACK", "NIOHTTP1", "NIOHTTP2", "NIOHTTPTypes", "NIOHTTPTypesHTTP2", "HTTPTypes", "Logging",
            "Hummingbird", "ServiceLifecycle",
        ],
        "HTTPFilesTests": [
            "HTTPFiles", "RingmasterHummingbird", "Transport", "NIOCore", "NIOEmbedded", "NIOHTTP1", "Logging",
            "HTTPTypes",
            "Hummingbird",
        ],
        "TransportTesting": ["Transport", "CRing", "CSocket"],
        "TransportTests": ["Transport", "TransportTesting", "CRing", "CSocket"],
        "ConformanceTests": ["Transport", "TransportTesting", "CRing", "CSocket"],
        "IntegrationTesting": ["Transport", "CSocket"],
        "IntegrationTests": ["Transport", "IntegrationTesting"],
        "FaultTests": ["Transport", "IntegrationTesting"],
        "ControlTests": ["Supervisor", "Transport", "TransportTesting"],
        "RingloadTests": ["ringload", "Transport", "TransportTesting", "ArgumentParser"],
        "CommandTests": allowed["ringmaster", default: []].union(allowed["Ringmaster", default: []])
            .union(["ringmaster"]),
    ]

    /// Imports of `file` that go against the order.
    static func findings(in file: SourceFile) -> [Finding] {
        // A manifest belongs to the package manager.
        guard file.language == .swift, !file.path.hasSuffix("/Package.swift"),
            let target = file.target.map(String.init)
        else { return [] }
        let permitted =
            file.path.hasPrefix("Examples/")
            ? products.union(exampleImports[target, default: []]).union(system)
            : permittedModules(of: target, isTest: file.path.hasPrefix("Tests/"))
        return file.code.enumerated().compactMap { index, line in
            guard let module = importedModule(line), !permitted.contains(module) else { return nil }
            return Finding(
                path: file.path, line: index + 1,
                message: "\(target) must not import \(module): imports point downwards (DESIGN.md section 1)")
        }
    }

    private static func permittedModules(of target: String, isTest: Bool) -> Set<String> {
        guard isTest else { return allowed[target, default: []].union(system) }
        let tests = system.union(testing)
        if let own = ownTests[target] { return own.union(tests) }
        let subject = String(target.dropLast("Tests".count))
        return allowed[subject, default: []].union([subject, "TransportTesting"]).union(tests)
    }

    /// The module that a line of code imports: `Glibc` of `public import struct Glibc.timespec`.
    static func importedModule(_ line: String) -> String? {
        let words = line.split { $0 == " " || $0 == "\t" || $0 == ";" }
        guard let position = words.firstIndex(of: "import"), position + 1 < words.count else { return nil }
        let accessLevels: Set<Substring> = ["public", "package", "internal", "fileprivate", "private"]
        guard words[..<position].allSatisfy({ $0.hasPrefix("@") || accessLevels.contains($0) }) else { return nil }
        let kinds: Set<Substring> = ["struct", "class", "enum", "protocol", "typealias", "func", "let", "var", "actor"]
        let name = kinds.contains(words[position + 1]) ? words[(position + 2)...].first : words[position + 1]
        return name?.split(separator: ".").first.map(String.init)
    }

    /// Inclusions of liburing outside CRing's .c files, where Swift could come to see its structs.
    static func inclusionFindings(in file: SourceFile) -> [Finding] {
        // The benchmarks' references are programs of their own, which no Swift target sees.
        guard file.language == .c, !file.path.hasPrefix("Tests/Benchmarks/reference/") else { return [] }
        let isRingSource = file.path.hasPrefix("csrc/CRing/") && file.path.hasSuffix(".c")
        return file.lines.enumerated().compactMap { index, line in
            // The directive, not the code view: that one blanks a header's name in quotes.
            let words = line.trimmed.drop { $0 == "#" || $0 == " " }
            guard !isRingSource, line.trimmed.hasPrefix("#"), words.hasPrefix("include") else { return nil }
            guard words.contains("liburing") else { return nil }
            return Finding(
                path: file.path, line: index + 1,
                message: "liburing may be included by csrc/CRing/*.c only: its structs clash with swift-system's")
        }
    }
}
