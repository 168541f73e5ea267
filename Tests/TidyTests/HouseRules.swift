/// The rules that a look at a few lines decides.
enum HouseRules {
    static let linesMax = 500

    /// A use that is allowed, with the reason. Each entry must still match something.
    struct Exception {
        let path: String
        let token: String
        let reason: String
    }

    /// Where a library may use what `forbiddenInLibraries` names.
    static let exceptions: [Exception] = []

    private static let forbiddenInLibraries: [(token: String, remedy: String)] = [
        ("print(", "log through swift-log or hand the text to the caller"),
        ("debugPrint(", "log through swift-log or hand the text to the caller"),
        ("try!", "let the error out with a typed throw"),
        ("fatalError(", "state the invariant with precondition, or throw"),
    ]

    /// A file that is longer than `linesMax`.
    static func lengthFindings(in file: SourceFile) -> [Finding] {
        // The line end that closes the last line begins no further one.
        let count = file.lines.count - (file.lines.last?.isEmpty == true ? 1 : 0)
        guard count > linesMax else { return [] }
        return [
            Finding(path: file.path, line: count, message: "\(count) lines, \(linesMax) allowed: a file is one concept")
        ]
    }

    /// `print`, `try!` and `fatalError` in a library.
    static func forbiddenCallFindings(in file: SourceFile, exceptions: [Exception] = exceptions) -> [Finding] {
        guard file.language == .swift, file.path.hasPrefix("Sources/") else { return [] }
        return file.code.enumerated().flatMap { index, line in
            forbiddenInLibraries.compactMap { token, remedy in
                let isAllowed = exceptions.contains { $0.path == file.path && $0.token == token }
                guard line.containsToken(token), !isAllowed else { return nil }
                return Finding(path: file.path, line: index + 1, message: "no \(token) in a library: \(remedy)")
            }
        }
    }

    /// Promises to the compiler without a comment above them that says what makes them true.
    static func uncheckedFindings(in file: SourceFile) -> [Finding] {
        guard file.language == .swift else { return [] }
        let promises = ["@unchecked Sendable", "nonisolated(unsafe)"]
        return file.code.enumerated().compactMap { index, line in
            guard let promise = promises.first(where: line.contains), !isJustified(file, line: index) else {
                return nil
            }
            return Finding(
                path: file.path, line: index + 1,
                message: "\(promise) needs a comment above it that says what makes it safe, and on which thread")
        }
    }

    /// Whether the comment block right above the line speaks of safety; a doc comment on the rest does not count.
    private static func isJustified(_ file: SourceFile, line index: Int) -> Bool {
        let reasons = ["safe", "sendable", "thread", "lock", "immutable"]
        for above in stride(from: index - 1, through: 0, by: -1) {
            if file.code[above].trimmed.hasPrefix("@") { continue }
            guard file.code[above].trimmed.isEmpty, !file.comments[above].trimmed.isEmpty else { return false }
            let comment = file.comments[above].lowercased()
            if reasons.contains(where: comment.contains) { return true }
        }
        return false
    }

    /// Notes of work left undone.
    static func unfinishedFindings(in file: SourceFile) -> [Finding] {
        let notes = ["TO" + "DO", "FIX" + "ME", "XX" + "X:"]
        return file.comments.enumerated().compactMap { index, line in
            guard let note = notes.first(where: line.containsToken) else { return nil }
            return Finding(path: file.path, line: index + 1, message: "\(note): do it now or open an issue")
        }
    }
}
