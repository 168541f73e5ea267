// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [.swiftLanguageMode(.v6)]
func nio(_ name: String) -> Target.Dependency { .product(name: name, package: "swift-nio") }
let log: Target.Dependency = .product(name: "Logging", package: "swift-log")
let argumentParser: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")

let package = Package(
    name: "ringmaster",
    products: [
        .executable(name: "ringmaster", targets: ["ringmaster"]),
        .executable(name: "ringload", targets: ["ringload"]),
        .library(name: "Ringmaster", targets: ["Ringmaster"]),
        .library(name: "Transport", targets: ["Transport"]),
        .library(name: "RingmasterNIO", targets: ["RingmasterNIO"]),
        .library(name: "RingmasterHummingbird", targets: ["RingmasterHummingbird"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-nio-http2", from: "1.46.0"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-extras", from: "1.35.2"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    ],
    targets: [
        .target(name: "CRing", path: "csrc/CRing", linkerSettings: [.linkedLibrary("uring")]),
        .target(name: "CSocket", path: "csrc/CSocket"),
        .target(name: "CNetlink", path: "csrc/CNetlink", linkerSettings: [.linkedLibrary("mnl")]),
        .target(name: "Transport", dependencies: ["CRing", "CSocket"], swiftSettings: strict),
        .target(name: "Handoff", dependencies: ["Transport", "CSocket"], swiftSettings: strict),
        .target(
            name: "Supervisor", dependencies: ["Handoff", "Transport", "CSocket", "CNetlink", log],
            swiftSettings: strict),
        .target(name: "Worker", dependencies: ["Handoff", "Transport", "CSocket", log], swiftSettings: strict),
        .target(name: "Services", dependencies: ["Transport", log], swiftSettings: strict),
        .target(
            name: "RingmasterNIO", dependencies: ["Transport", nio("NIOCore")], swiftSettings: strict),
        .target(
            name: "RingmasterHummingbird",
            dependencies: [
                "RingmasterNIO", "Transport", nio("NIOCore"), nio("NIOHTTP1"), nio("NIOTLS"), log,
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "HummingbirdHTTP2", package: "hummingbird"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
                .product(name: "NIOHTTPTypesHTTP1", package: "swift-nio-extras"),
                .product(name: "NIOHTTPTypesHTTP2", package: "swift-nio-extras"),
                .product(name: "NIOHTTP2", package: "swift-nio-http2"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ],
            swiftSettings: strict),
        .target(
            name: "HTTPFiles",
            dependencies: [
                "RingmasterHummingbird", "Transport", "CSocket", log, nio("NIOCore"), nio("NIOHTTP1"), nio("NIOPosix"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
            ],
            swiftSettings: strict),
        .target(
            name: "Ringmaster",
            dependencies: [
                "Supervisor", "Worker", "Handoff", "Transport", log, argumentParser,
                .product(name: "Yams", package: "Yams"),
            ],
            swiftSettings: strict),
        .executableTarget(
            name: "ringmaster",
            dependencies: [
                "Ringmaster", "Services", "Transport", "HTTPFiles", "RingmasterHummingbird", argumentParser,
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
            ],
            swiftSettings: strict),
        // The load generator.
        .executableTarget(
            name: "ringload",
            dependencies: [
                "Transport", "CSocket", argumentParser,
                .product(name: "Histogram", package: "hdrhistogram-swift"),
            ],
            swiftSettings: strict),
        .executableTarget(
            name: "line-chat", dependencies: ["Transport"], path: "Examples/LineChat", swiftSettings: strict),
        .executableTarget(
            name: "line-server", dependencies: ["Ringmaster", "Transport"], path: "Examples/LineServer",
            swiftSettings: strict),
        .executableTarget(
            name: "nio-line-server", dependencies: ["Ringmaster", "RingmasterNIO", "Transport", nio("NIOCore")],
            path: "Examples/NIOLineServer", swiftSettings: strict),
        .executableTarget(
            name: "websocket-chat",
            dependencies: [
                "Ringmaster", "RingmasterNIO", "Transport", nio("NIOCore"), nio("NIOHTTP1"), nio("NIOWebSocket"),
            ],
            path: "Examples/WebSocketChat", swiftSettings: strict),
        .executableTarget(
            name: "todo-api",
            dependencies: [
                "Ringmaster", "RingmasterHummingbird", "Transport",
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
            ],
            path: "Examples/API", swiftSettings: strict),
        // Support without tests of its own: peers, recorders, loops on threads, kernels that a test scripts.
        .testTarget(
            name: "TransportTesting", dependencies: ["Transport", "CRing", "CSocket"], swiftSettings: strict),
        .testTarget(
            name: "TransportTests", dependencies: ["Transport", "TransportTesting", "CRing", "CSocket"],
            swiftSettings: strict),
        .testTarget(
            name: "ConformanceTests", dependencies: ["Transport", "TransportTesting", "CRing", "CSocket"],
            exclude: ["CASES.md"], swiftSettings: strict),
        .testTarget(name: "HandoffTests", dependencies: ["Handoff", "Transport", "CSocket"], swiftSettings: strict),
        .testTarget(
            name: "SupervisorTests", dependencies: ["Supervisor", "Handoff", "Transport", "TransportTesting"],
            swiftSettings: strict),
        // Of Sources/Supervisor/Control: apart, since these need a kernel and the supervisor's decisions do not.
        .testTarget(
            name: "ControlTests", dependencies: ["Supervisor", "Transport", "TransportTesting"], swiftSettings: strict),
        .testTarget(
            name: "WorkerTests", dependencies: ["Worker", "Handoff", "CSocket", "TransportTesting"],
            swiftSettings: strict),
        .testTarget(
            name: "ServicesTests", dependencies: ["Services", "Transport", "TransportTesting"], swiftSettings: strict),
        .testTarget(
            name: "RingmasterNIOTests",
            dependencies: [
                "RingmasterNIO", "Transport", "TransportTesting", nio("NIOCore"), nio("NIOPosix"), nio("NIOHTTP1"),
                nio("NIOConcurrencyHelpers"), nio("NIOTLS"), .product(name: "NIOExtras", package: "swift-nio-extras"),
            ],
            exclude: ["BEHAVIOURS.md"], swiftSettings: strict),
        .testTarget(
            name: "HTTPFilesTests",
            dependencies: [
                "HTTPFiles", "RingmasterHummingbird", "Transport", nio("NIOCore"), nio("NIOEmbedded"), nio("NIOHTTP1"),
                log,
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
            ],
            swiftSettings: strict),
        .testTarget(
            name: "RingmasterHummingbirdTests",
            dependencies: [
                "RingmasterHummingbird", "RingmasterNIO", "Transport", "TransportTesting", nio("NIOCore"),
                nio("NIOEmbedded"), nio("NIOHTTP1"), log,
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "NIOHTTP2", package: "swift-nio-http2"),
                .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
                .product(name: "NIOHTTPTypesHTTP2", package: "swift-nio-extras"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ],
            swiftSettings: strict),
        .testTarget(
            name: "RingmasterTests", dependencies: ["Ringmaster", "TransportTesting"], swiftSettings: strict),
        .testTarget(name: "CommandTests", dependencies: ["ringmaster", "Ringmaster"], swiftSettings: strict),
        .testTarget(
            name: "RingloadTests", dependencies: ["ringload", "Transport", "TransportTesting"], swiftSettings: strict),
        // Support without tests of its own: the program and its peers as processes, clients, what proc(5) tells.
        .testTarget(
            name: "IntegrationTesting", dependencies: ["Transport", "CSocket"], swiftSettings: strict),
        .testTarget(
            name: "IntegrationTests", dependencies: ["IntegrationTesting", "Transport", "CSocket"],
            exclude: ["Fixtures"], swiftSettings: strict),
        .testTarget(
            name: "FaultTests", dependencies: ["IntegrationTesting", "Transport"],
            exclude: ["Fixtures", "table.sh"], swiftSettings: strict),
        .testTarget(name: "TidyTests", swiftSettings: strict),
    ]
)

// A developer of the core does not wait for SwiftNIO: RINGMASTER_CORE=1 leaves out what stands on it, and what it needs.
if Context.environment["RINGMASTER_CORE"] != nil {
    let core: Set = ["swift-argument-parser", "swift-log", "Yams", "hdrhistogram-swift"]
    let standsOnNIO: Set = [
        "RingmasterNIO", "RingmasterHummingbird", "HTTPFiles", "ringmaster", "RingmasterNIOTests", "HTTPFilesTests",
        "RingmasterHummingbirdTests", "CommandTests", "IntegrationTesting", "IntegrationTests", "FaultTests",
        "nio-line-server", "websocket-chat", "todo-api",
    ]
    package.dependencies.removeAll { dependency in
        guard case .sourceControl(_, let location, _) = dependency.kind else { return true }
        return !core.contains(String(location.split(separator: "/").last ?? ""))
    }
    package.products.removeAll { standsOnNIO.contains($0.name) }
    package.targets.removeAll { standsOnNIO.contains($0.name) }
}
