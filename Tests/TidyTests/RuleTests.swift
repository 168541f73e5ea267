import Testing

/// Each rule is fed what it must find and what it must leave alone.
@Suite struct RuleTests {
    private func file(_ text: String, path: String = "Sources/Transport/a.swift") -> SourceFile {
        SourceFile(path: path, text: text)
    }

    private func lines(_ findings: [Finding]) -> [Int] { findings.map(\.line) }

    @Test(
        "an import against the order is found",
        arguments: [
            ("Sources/Transport/a.swift", "import Handoff"),
            ("Sources/Transport/IO/Uring/a.swift", "import Logging"),
            ("Sources/Handoff/a.swift", "import CRing"),
            ("Sources/Handoff/a.swift", "@testable import Worker"),
            ("Sources/Supervisor/a.swift", "import Worker"),
            ("Sources/Worker/a.swift", "public import Supervisor"),
            ("Sources/Services/a.swift", "import struct Handoff.Packet"),
            ("Sources/Services/a.swift", "import CSocket"),
            ("Sources/ringmaster/a.swift", "import CRing"),
            ("Sources/ringmaster/a.swift", "import Supervisor"),
            ("Sources/Ringmaster/a.swift", "import Services"),
            ("Sources/Worker/a.swift", "import Foundation"),
            ("Sources/NotInTheTable/a.swift", "import Transport"),
            ("Tests/HandoffTests/a.swift", "@testable import Supervisor"),
            ("Examples/LineServer/a.swift", "import NIOCore"),
            ("Examples/API/a.swift", "import Worker"),
            ("Tests/TidyTests/a.swift", "import Transport"),
        ])
    func importAgainstTheOrder(path: String, text: String) {
        #expect(lines(ImportRules.findings(in: file("import Glibc\n" + text, path: path))) == [2])
    }

    @Test(
        "an import in the order is left alone",
        arguments: [
            ("Sources/Transport/a.swift", "internal import CRing\nimport Synchronization"),
            ("Sources/Supervisor/a.swift", "import Handoff\nimport Logging\nimport Transport"),
            ("Sources/ringmaster/a.swift", "import ArgumentParser\nimport Ringmaster\nimport Services"),
            ("Sources/Ringmaster/a.swift", "import ArgumentParser\nimport Worker\nimport Supervisor"),
            ("Sources/Transport/a.swift", "// import Worker\nlet s = \"import Worker\""),
            ("Sources/Transport/a.swift", "let x = file.import"),
            ("Tests/HandoffTests/a.swift", "import Foundation\nimport Testing\n@testable import Handoff"),
            ("Examples/GRPC/Sources/a.swift", "import GRPCCore\nimport RingmasterNIO"),
            ("Tests/CommandTests/a.swift", "@testable import ringmaster\nimport ArgumentParser"),
        ])
    func importInTheOrder(path: String, text: String) {
        #expect(ImportRules.findings(in: file(text, path: path)).isEmpty)
    }

    @Test(
        "liburing is found wherever Swift could see it",
        arguments: [
            ("csrc/CRing/include/CRing.h", "#include <liburing.h>"),
            ("csrc/CRing/compat.h", "#  include <liburing/io_uring.h>"),
            ("csrc/CSocket/csocket.c", "#include \"liburing.h\""),
        ])
    func inclusionOutsideCRing(path: String, text: String) {
        #expect(lines(ImportRules.inclusionFindings(in: file("\n" + text, path: path))) == [2])
    }

    @Test("CRing's own C files include liburing, and others may speak of it")
    func inclusionInsideCRing() {
        #expect(ImportRules.inclusionFindings(in: file("#include <liburing.h>", path: "csrc/CRing/ring.c")).isEmpty)
        #expect(ImportRules.inclusionFindings(in: file("/* liburing */", path: "csrc/CRing/include/CRing.h")).isEmpty)
        let reference = "Tests/Benchmarks/reference/uring-stream.h"
        #expect(ImportRules.inclusionFindings(in: file("#include <liburing.h>", path: reference)).isEmpty)
    }

    @Test("a file of 500 lines passes and one of 501 does not", arguments: [true, false])
    func length(endsWithLineEnd: Bool) {
        func findings(_ count: Int) -> [Finding] {
            let text = Array(repeating: "let a = 1", count: count).joined(separator: "\n")
            return HouseRules.lengthFindings(in: file(text + (endsWithLineEnd ? "\n" : "")))
        }
        #expect(findings(500).isEmpty)
        #expect(lines(findings(501)) == [501])
    }

    @Test(
        "a forbidden call in a library is found",
        arguments: ["print(1)", "Swift.print(\"a\")", "  debugPrint(a)", "let a = try! f()", "else { fatalError() }"])
    func forbiddenCall(text: String) {
        #expect(lines(HouseRules.forbiddenCallFindings(in: file("\n" + text))) == [2])
    }

    @Test(
        "what only looks like a forbidden call is left alone",
        arguments: ["fingerprint(1)", "// print(1)", "let a = \"try! f()\"", "try f()", "/// fatalError()"])
    func allowedCall(text: String) {
        #expect(HouseRules.forbiddenCallFindings(in: file(text)).isEmpty)
    }

    @Test("an example may print, and an exception covers its own file and call only")
    func forbiddenCallExceptions() {
        #expect(HouseRules.forbiddenCallFindings(in: file("print(1)", path: "Examples/a/a.swift")).isEmpty)
        let exception = HouseRules.Exception(path: "Sources/Transport/a.swift", token: "print(", reason: "a test")
        func lines(_ path: String, _ text: String) -> [Int] {
            HouseRules.forbiddenCallFindings(in: file(text, path: path), exceptions: [exception]).map(\.line)
        }
        #expect(lines("Sources/Transport/a.swift", "print(1)").isEmpty)
        #expect(lines("Sources/Transport/a.swift", "try! f()") == [1])
        #expect(lines("Sources/Transport/b.swift", "print(1)") == [1])
    }

    @Test(
        "an undocumented public name is found",
        arguments: [
            ("public func f() {}", [1]),
            ("// not a doc comment\npublic struct S {}", [2]),
            ("/// Far away.\n\npublic struct S {}", [3]),
            ("@inlinable public static func f() {}", [1]),
            ("@inlinable\n@available(*, deprecated)\npublic init() {}", [3]),
            ("open class C {}", [1]),
            ("public private(set) var a = 1", [1]),
            ("public internal(set) var a = 1", [1]),
            ("static public func < (a: S, b: S) -> Bool { true }", [1]),
            ("/// E.\npublic enum E {\n    case a\n    /// B.\n    case b\n    case c(Int)\n}", [3, 6]),
            ("/// E.\npublic indirect enum E: Error\nwhere T: U {\n    case a\n}", [4]),
            ("/// P.\npublic protocol P {\n    associatedtype A\n    func f()\n}", [3, 4]),
            ("public extension S {\n    func f() {}\n    private func g() {}\n}", [2]),
            ("extension S {\n    public var a: Int { 1 }\n}", [2]),
        ])
    func undocumented(text: String, expected: [Int]) {
        #expect(lines(DocumentationRule.findings(in: file(text))) == expected)
    }

    @Test(
        "a documented or private name is left alone",
        arguments: [
            "/// S.\npublic struct S {}", "/// S.\n@frozen\npublic struct S {}", "func f() {}",
            "let fd = open(path, 0)",
            "open(path, O_RDONLY)", "/// F.\n@inlinable @inline(__always)\npublic func f() {}", "public import Glibc",
            "/// F.\n#if DEBUG\npublic func f() {}\n#endif", "enum E {\n    case a\n}",
            "/// E.\npublic enum E {\n    /// A.\n    case a\n    /// F.\n    public func f() {\n        switch self {\n"
                + "        case .a: break\n        }\n    }\n}",
            "/// C.\npublic final class C {\n    init() {}\n    enum Inner {\n        case a\n    }\n}",
        ])
    func documented(text: String) {
        #expect(DocumentationRule.findings(in: file(text)).isEmpty)
    }

    @Test(
        "a promise to the compiler without a reason is found",
        arguments: [
            "final class C: @unchecked Sendable {}", "/// A queue.\nfinal class C: @unchecked Sendable {}",
            "// Thread-safe.\n\nnonisolated(unsafe) var a = 1", "let b = 2\nnonisolated(unsafe) var a = 1",
        ])
    func unjustified(text: String) {
        #expect(HouseRules.uncheckedFindings(in: file(text)).count == 1)
    }

    @Test(
        "a promise to the compiler with its reason is left alone",
        arguments: [
            "// Safe: set once before the first thread starts.\nnonisolated(unsafe) var a = 1",
            "/// A queue.\n/// It is Sendable since a lock guards all of it,\n/// always.\n@frozen\n"
                + "final class C: @unchecked Sendable {}",
            "// @unchecked Sendable", "let s = \"nonisolated(unsafe)\"",
        ])
    func justified(text: String) {
        #expect(HouseRules.uncheckedFindings(in: file(text)).isEmpty)
    }

    @Test("work left for later is found in comments, and in scripts anywhere")
    func unfinished() {
        let note = "TO" + "DO"
        #expect(lines(HouseRules.unfinishedFindings(in: file("let a = 1\n// \(note): b"))) == [2])
        #expect(lines(HouseRules.unfinishedFindings(in: file("# FIX" + "ME", path: ".ci/run"))) == [1])
        #expect(HouseRules.unfinishedFindings(in: file("let a = \"\(note)\"")).isEmpty)
        #expect(HouseRules.unfinishedFindings(in: file("// AUTO\(note)")).isEmpty)
    }
}
