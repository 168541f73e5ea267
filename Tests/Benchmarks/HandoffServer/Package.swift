// swift-tools-version: 6.2
import PackageDescription

// Tells clients how long their hand-off took; apart from the product, which builds no benchmarks.
let package = Package(
    name: "handoff-server",
    dependencies: [.package(name: "ringmaster", path: "../../..")],
    targets: [
        .executableTarget(
            name: "handoff-server",
            dependencies: [
                .product(name: "Ringmaster", package: "ringmaster"), .product(name: "Transport", package: "ringmaster"),
            ],
            path: ".", swiftSettings: [.swiftLanguageMode(.v6)])
    ]
)
