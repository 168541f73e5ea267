/// The list of behaviours (CASES.md) against the tests: each case has its tests or its reason, and each test its row.
enum CaseRules {
    /// The cases of `shared/reference/netty.md`, section 3, are numbered from 1 to this.
    static let caseLast = 70

    /// A test as its source shows it.
    struct TestFunction {
        let path: String
        let line: Int
        /// The file's name and the function's, such as `ListenerTests.drain`.
        let name: String
        /// The text from `@Test` to the function's parameters.
        let declaration: String

        /// The numbers in "(netty 12, 16)".
        var cases: [Int] {
            guard let start = declaration.firstRange(of: "(netty ") else { return [] }
            return declaration[start.upperBound...].prefix { $0 != ")" }
                .split(separator: ",").compactMap { Int($0.trimmed) }
        }
    }

    /// A row of the table.
    private struct Row {
        let line: Int
        let tests: [String]
        let isLeftOut: Bool
    }

    /// What `list` and the tests disagree on. The files are those that may show a case.
    static func findings(list: SourceFile, tests files: [SourceFile]) -> [Finding] {
        let tests = files.flatMap(tests(in:))
        var findings: [Finding] = []
        func report(_ line: Int, _ message: String) {
            findings.append(Finding(path: list.path, line: line, message: message))
        }
        let rows = rows(of: list)
        for number in 1...caseLast {
            guard let row = rows[String(number)] else {
                report(list.lines.count, "case \(number) has no row")
                continue
            }
            for name in row.tests where !tests.contains(where: { $0.name == name && $0.cases.contains(number) }) {
                report(row.line, "no test \(name) has (netty \(number)) in its name")
            }
            for test in tests where test.cases.contains(number) && !row.tests.contains(test.name) {
                report(row.line, "case \(number): \(test.name) is not listed")
            }
        }
        for (label, row) in rows.sorted(by: { $0.value.line < $1.value.line }) {
            if row.tests.isEmpty, !row.isLeftOut { report(row.line, "\(label): neither a test nor \"left out: …\"") }
            guard let number = Int(label) else {
                for name in row.tests where !tests.contains(where: { $0.name == name }) {
                    report(row.line, "there is no test \(name)")
                }
                continue
            }
            if !(1...caseLast).contains(number) { report(row.line, "there is no case \(number)") }
        }
        return findings
    }

    /// Conformance tests that are not run in every mode.
    static func modeFindings(in file: SourceFile) -> [Finding] {
        guard file.path.hasPrefix("Tests/ConformanceTests/") else { return [] }
        return tests(in: file).filter { !$0.declaration.contains("TransportMode") }.map { test in
            Finding(path: test.path, line: test.line, message: "\(test.name) takes no TransportMode")
        }
    }

    /// The rows by what is in their first column.
    private static func rows(of list: SourceFile) -> [String: Row] {
        var rows: [String: Row] = [:]
        for (index, line) in list.lines.enumerated() {
            let cells = line.split(separator: "|")
            guard line.hasPrefix("| "), !line.hasPrefix("| ---"), cells.count >= 2 else { continue }
            let tests = cells[1].split(separator: "`").map(String.init).filter { $0.contains("Tests.") }
            rows[String(cells[0].trimmed)] = Row(
                line: index + 1, tests: tests, isLeftOut: cells[1].contains("left out: "))
        }
        rows["Case"] = nil
        return rows
    }

    static func tests(in file: SourceFile) -> [TestFunction] {
        guard file.language == .swift, file.path.hasPrefix("Tests/") else { return [] }
        let fileName = file.path.split(separator: "/").last?.dropLast(".swift".count) ?? ""
        var tests: [TestFunction] = []
        var start: Int?
        for (index, line) in file.code.enumerated() {
            if line.trimmed.hasPrefix("@Test") { start = index }
            guard let first = start, let range = line.firstRange(of: "func ") else { continue }
            let function = line[range.upperBound...].prefix { $0.isLetter || $0.isNumber || $0 == "_" }
            // The parameters may go on in the next line.
            let last = min(index + 1, file.lines.count - 1)
            tests.append(
                TestFunction(
                    path: file.path, line: first + 1, name: "\(fileName).\(function)",
                    declaration: file.lines[first...last].joined(separator: "\n")))
            start = nil
        }
        return tests
    }
}
