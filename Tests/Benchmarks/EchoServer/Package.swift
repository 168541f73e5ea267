// swift-tools-version: 6.2
import PackageDescription

let package = Package(
    name: "EchoServer",
    dependencies: [.package(name: "ringmaster", path: "../../..")],
    targets: [
        .executableTarget(
            name: "EchoServer", dependencies: [.product(name: "Transport", package: "ringmaster")], path: ".",
            sources: ["main.swift"], swiftSettings: [.swiftLanguageMode(.v6)])
    ]
)
