import Foundation
import Testing

/// The rules applied to this very tree.
@Suite struct TreeTests {
    private static let root = URL(filePath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    private static let sourceDirectories = ["Sources", "Examples", "Tests", "csrc", "docker", ".ci"]
    private static let sourceSuffixes: Set<String> = ["swift", "c", "h", "sh", "py", "yaml", "yml", ""]

    private static let files: [SourceFile] = sourceDirectories.flatMap(sources)

    private static func sources(under directory: String) -> [SourceFile] {
        guard let walk = FileManager.default.enumerator(atPath: root.appending(path: directory).path) else { return [] }
        return walk.compactMap { $0 as? String }.sorted().compactMap { name in
            let path = "\(directory)/\(name)"
            guard sourceSuffixes.contains((path as NSString).pathExtension),
                let text = try? String(contentsOf: root.appending(path: path), encoding: .utf8)
            else { return nil }
            return SourceFile(path: path, text: text)
        }
    }

    private static func check(_ rule: (SourceFile) -> [Finding], sourceLocation: SourceLocation = #_sourceLocation) {
        for finding in files.flatMap(rule) {
            Issue.record("\(finding)", sourceLocation: sourceLocation)
        }
    }

    @Test("the tree that is checked is the whole tree, and each target in it is in the import table")
    func treeIsFound() throws {
        let targets = try FileManager.default.contentsOfDirectory(atPath: Self.root.appending(path: "Sources").path)
        #expect(Set(targets) == Set(ImportRules.allowed.keys))
        for target in targets {
            #expect(Self.files.contains { $0.path.hasPrefix("Sources/\(target)/") && $0.language == .swift })
        }
        #expect(Self.files.contains { $0.path.hasPrefix("csrc/") && $0.language == .c })
        #expect(Self.files.contains { $0.path == "Tests/TidyTests/TreeTests.swift" })
    }

    @Test("the top level holds only what belongs there")
    func topLevel() throws {
        let expected: Set<String> = [
            "Package.swift", "Package.resolved", "csrc", "Sources", "Examples", "Tests", "docker", "README.md",
            "LICENSE",
        ]
        let entries = try FileManager.default.contentsOfDirectory(atPath: Self.root.path)
        let strangers = entries.filter { !$0.hasPrefix(".") && !expected.contains($0) }
        #expect(strangers.isEmpty)
    }

    @Test("the list of behaviours agrees with the tests")
    func cases() throws {
        let path = "Tests/ConformanceTests/CASES.md"
        let list = SourceFile(
            path: path, text: try String(contentsOf: Self.root.appending(path: path), encoding: .utf8))
        for finding in CaseRules.findings(list: list, tests: Self.files) { Issue.record("\(finding)") }
    }

    @Test("the README tells what at least ten injected faults cost, in rows of five cells")
    func faultTable() throws {
        let text = try String(contentsOf: Self.root.appending(path: "README.md"), encoding: .utf8)
        let lines = text.split(separator: "\n")
        let begin = try #require(lines.firstIndex(of: "<!-- faults -->"))
        let end = try #require(lines.firstIndex(of: "<!-- /faults -->"))
        try #require(begin < end)
        let table = lines[begin..<end].filter { $0.hasPrefix("|") }
        // A `|` within a cell would end it, and begin a sixth.
        for row in table { #expect(row.count { $0 == "|" } == 6, "\(row)") }
        // But for the head and the line below it.
        #expect(table.count - 2 >= 10, "run Tests/FaultTests/table.sh --readme")
    }

    @Test("every conformance test is run in every transport mode")
    func modes() {
        Self.check(CaseRules.modeFindings)
    }

    @Test("imports point downwards only")
    func imports() {
        Self.check(ImportRules.findings)
    }

    @Test("liburing is seen by CRing's C files only")
    func inclusions() {
        Self.check(ImportRules.inclusionFindings)
    }

    @Test("no source file is longer than 500 lines")
    func length() {
        Self.check(HouseRules.lengthFindings)
    }

    @Test("no library prints, force-tries or calls fatalError")
    func forbiddenCalls() {
        Self.check { HouseRules.forbiddenCallFindings(in: $0) }
    }

    @Test("each exception to the forbidden calls is still needed")
    func exceptionsAreNeeded() {
        for exception in HouseRules.exceptions {
            let file = Self.files.first { $0.path == exception.path }
            let isUsed = file?.code.contains { $0.containsToken(exception.token) } ?? false
            #expect(isUsed, "\(exception.path) no longer uses \(exception.token)")
            #expect(!exception.reason.isEmpty)
        }
    }

    @Test("every public name has a doc comment")
    func documentation() {
        Self.check { $0.path.hasPrefix("Sources/") ? DocumentationRule.findings(in: $0) : [] }
    }

    @Test("every promise to the compiler has its reason beside it")
    func unchecked() {
        Self.check(HouseRules.uncheckedFindings)
    }

    @Test("nothing is left for later in a comment")
    func unfinished() {
        Self.check(HouseRules.unfinishedFindings)
    }
}
