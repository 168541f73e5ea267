import Foundation
import Testing

@testable import Ringmaster

@Suite("reading a configuration file")
struct ConfigurationFileTests {
    private let directory: URL

    init() throws {
        directory = FileManager.default.temporaryDirectory.appending(path: "ringmaster-\(UUID())")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    }

    /// The path of a file of this directory.
    private func path(_ name: String) -> String { directory.appending(path: name).path }

    private func refusal(_ path: String) -> String? {
        #expect(throws: CommandError.self) { try ConfigurationFile.read(path) }?.message
    }

    @Test("a file of the size allowed is read whole, also through a link, and one byte more is refused")
    func size() throws {
        defer { try? FileManager.default.removeItem(at: directory) }
        let bytes = [UInt8](repeating: UInt8(ascii: "#"), count: ConfigurationFile.sizeMax)
        try Data(bytes).write(to: URL(filePath: path("a")))
        try FileManager.default.createSymbolicLink(atPath: path("b"), withDestinationPath: "a")
        #expect(try ConfigurationFile.read(path("b")) == bytes)
        try Data(bytes + [10]).write(to: URL(filePath: path("a")))
        #expect(refusal(path("a"))?.contains("larger than 1048576 bytes") == true)
    }

    @Test("what cannot be read, or not again, is refused without waiting for it")
    func others() throws {
        defer { try? FileManager.default.removeItem(at: directory) }
        #expect(refusal(path("none"))?.contains("No such file") == true)
        #expect(refusal(directory.path)?.contains("no regular file") == true)
        try #require(mkfifo(path("fifo"), 0o600) == 0)
        #expect(refusal(path("fifo"))?.contains("no regular file") == true)
        #expect(refusal("-")?.contains("standard input") == true)
        #expect(refusal("/dev/null")?.contains("no regular file") == true)
    }
}
