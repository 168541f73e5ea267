// swift-tools-version: 6.2
// Apart from Ringmaster's own package, which would be built with all that gRPC stands on otherwise.
import PackageDescription

let package = Package(
    name: "grpc-echo",
    dependencies: [
        .package(name: "ringmaster", path: "../.."),
        .package(url: "https://github.com/grpc/grpc-swift-2", from: "2.4.3"),
        .package(url: "https://github.com/grpc/grpc-swift-nio-transport", from: "2.9.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    ],
    targets: [
        .executableTarget(
            name: "grpc-echo",
            dependencies: [
                .product(name: "Ringmaster", package: "ringmaster"),
                .product(name: "RingmasterNIO", package: "ringmaster"),
                .product(name: "Transport", package: "ringmaster"),
                .product(name: "GRPCCore", package: "grpc-swift-2"),
                .product(name: "GRPCNIOTransportHTTP2Posix", package: "grpc-swift-nio-transport"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
            ],
            path: "Sources", swiftSettings: [.swiftLanguageMode(.v6)])
    ]
)
