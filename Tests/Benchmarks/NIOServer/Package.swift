// swift-tools-version: 6.2
import PackageDescription

func nio(_ name: String) -> Target.Dependency { .product(name: name, package: "swift-nio") }

// The same servers on RingmasterNIO and on NIOPosix; apart from the product, which builds no benchmarks.
let package = Package(
    name: "nio-server",
    dependencies: [
        .package(name: "ringmaster", path: "../../.."),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
    ],
    targets: [
        .executableTarget(
            name: "nio-server",
            dependencies: [
                .product(name: "Transport", package: "ringmaster"),
                .product(name: "RingmasterNIO", package: "ringmaster"),
                .product(name: "RingmasterHummingbird", package: "ringmaster"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdHTTP2", package: "hummingbird"),
                nio("NIOCore"), nio("NIOPosix"),
            ],
            path: ".", swiftSettings: [.swiftLanguageMode(.v6)])
    ]
)
