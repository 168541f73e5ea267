import Testing

/// The list of cases is fed what must be found and what must be left alone.
@Suite struct CaseRuleTests {
    private let tests = SourceFile(
        path: "Tests/ConformanceTests/Channel/EchoTests.swift",
        text: """
            @Test("what is sent comes back (netty 1, 2)", arguments: TransportMode.available)
            func echo(mode: TransportMode) throws {}
            @Test(
                "nothing comes back",
                arguments: [1])
            func silence(count: Int) {}
            """)

    /// A list in which the rows are as given and every other case is left out.
    private func list(_ rows: String...) -> SourceFile {
        let given = Set(rows.compactMap { $0.split(separator: "|").first.flatMap { Int($0.trimmed) } })
        let others = (1...CaseRules.caseLast).filter { !given.contains($0) }.map { "| \($0) | left out: not ours |" }
        let header = ["| Case | Tests |", "| --- | --- |"]
        return SourceFile(path: "CASES.md", text: (header + rows + others).joined(separator: "\n"))
    }

    private func findings(_ rows: [String]) -> [String] {
        let list =
            switch rows.count {
            case 2: list(rows[0], rows[1])
            default: list(rows[0], rows[1], rows[2])
            }
        return CaseRules.findings(list: list, tests: [tests]).map(\.message)
    }

    @Test("a list that agrees with the tests is left alone")
    func agreement() {
        #expect(findings(["| 1 | `EchoTests.echo` |", "| 2 | `EchoTests.echo`, but for one thing |"]) == [])
        #expect(
            findings(["| 1 | `EchoTests.echo` |", "| 2 | `EchoTests.echo` |", "| storm | `EchoTests.silence` |"]) == [])
    }

    @Test("a test that is not there, lacks the number or is not listed is found")
    func disagreement() {
        #expect(
            findings(["| 1 | `EchoTests.eco` |", "| 2 | `EchoTests.echo` |"]) == [
                "no test EchoTests.eco has (netty 1) in its name", "case 1: EchoTests.echo is not listed",
            ])
        #expect(
            findings(["| 1 | `EchoTests.echo` |", "| 2 | `EchoTests.echo`, `EchoTests.silence` |"]) == [
                "no test EchoTests.silence has (netty 2) in its name"
            ])
        #expect(
            findings(["| 1 | `EchoTests.echo` |", "| 2 | `EchoTests.echo` |", "| storm | `EchoTests.storm` |"]) == [
                "there is no test EchoTests.storm"
            ])
    }

    @Test("a case without a row, a row without test or reason, and a number beyond the last are found")
    func gaps() {
        let empty = CaseRules.findings(list: SourceFile(path: "CASES.md", text: "| Case | Tests |\n"), tests: [])
        #expect(empty.count == CaseRules.caseLast)
        #expect(
            findings(["| 1 | `EchoTests.echo` |", "| 2 | `EchoTests.echo` |", "| 3 | later |"]) == [
                "3: neither a test nor \"left out: …\""
            ])
        #expect(
            findings(["| 1 | `EchoTests.echo` |", "| 2 | `EchoTests.echo` |", "| 71 | left out: why |"]) == [
                "there is no case 71"
            ])
    }

    @Test("a conformance test without a mode is found")
    func mode() {
        #expect(CaseRules.modeFindings(in: tests).map(\.line) == [3])
    }
}
