/// A source file as the checks see it: its path from the root and its text, line by line.
struct SourceFile {
    enum Language {
        case swift, c, other
    }

    /// The path from the root of the repository, such as `Sources/Transport/Loop/EventLoop.swift`.
    let path: String
    /// The lines as they stand.
    let lines: [Substring]
    /// The lines with comments and the contents of string literals blanked.
    let code: [String]
    /// The lines with everything but the comments blanked.
    let comments: [String]

    init(path: String, text: String) {
        self.path = path
        lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        var scanner = Scanner(language: SourceFile.language(of: path))
        (code, comments) = scanner.split(text)
    }

    var language: Language { SourceFile.language(of: path) }

    /// The directory two levels down, such as `Transport` of `Sources/Transport/Loop/EventLoop.swift`.
    var target: Substring? {
        let parts = path.split(separator: "/")
        return parts.count > 2 ? parts[1] : nil
    }

    private static func language(of path: String) -> Language {
        if path.hasSuffix(".swift") { return .swift }
        return path.hasSuffix(".c") || path.hasSuffix(".h") ? .c : .other
    }
}

/// Tells code, comments and string literals apart, in Swift and in C, well enough for checks by text.
private struct Scanner {
    private enum Mode: Equatable {
        /// Code; `parentheses` are those open since an interpolation began.
        case code(parentheses: Int)
        case lineComment
        case blockComment(depth: Int)
        case string(hashes: Int, isMultiline: Bool)
        case character
    }

    private let language: SourceFile.Language
    private var modes: [Mode] = [.code(parentheses: 0)]
    private var code = ""
    private var comments = ""

    init(language: SourceFile.Language) {
        self.language = language
    }

    mutating func split(_ text: String) -> (code: [String], comments: [String]) {
        func lines(_ text: String) -> [String] {
            text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        }
        // Scripts, Dockerfiles and the like are not taken apart: what is said of their comments holds for every line.
        guard language != .other else { return (lines(text), lines(text)) }
        var rest = Substring(text)
        while !rest.isEmpty { step(&rest) }
        return (lines(code), lines(comments))
    }

    private mutating func step(_ rest: inout Substring) {
        switch modes[modes.count - 1] {
        case .code(let parentheses): stepCode(&rest, parentheses: parentheses)
        case .lineComment:
            if rest.first == "\n" { modes.removeLast() }
            take(1, of: &rest, as: .comment)
        case .blockComment(let depth): stepBlockComment(&rest, depth: depth)
        case .string(let hashes, let isMultiline): stepString(&rest, hashes: hashes, isMultiline: isMultiline)
        case .character:
            if rest.first == "'" || rest.first == "\n" { modes.removeLast() }
            take(rest.first == "\\" ? 2 : 1, of: &rest, as: .literal)
        }
    }

    private mutating func stepCode(_ rest: inout Substring, parentheses: Int) {
        if rest.hasPrefix("//") {
            modes.append(.lineComment)
            return take(2, of: &rest, as: .comment)
        }
        if rest.hasPrefix("/*") {
            modes.append(.blockComment(depth: 1))
            return take(2, of: &rest, as: .comment)
        }
        if language == .c, rest.first == "'" {
            modes.append(.character)
            return take(1, of: &rest, as: .literal)
        }
        let hashes = language == .swift ? rest.prefix { $0 == "#" }.count : 0
        if rest.dropFirst(hashes).first == "\"" {
            let isMultiline = language == .swift && rest.dropFirst(hashes).hasPrefix("\"\"\"")
            modes.append(.string(hashes: hashes, isMultiline: isMultiline))
            return take(hashes + (isMultiline ? 3 : 1), of: &rest, as: .literal)
        }
        if modes.count > 1, rest.first == "(" {
            modes[modes.count - 1] = .code(parentheses: parentheses + 1)
        } else if modes.count > 1, rest.first == ")" {
            // The last parenthesis of an interpolation leads back into the string.
            if parentheses == 1 {
                modes.removeLast()
            } else {
                modes[modes.count - 1] = .code(parentheses: parentheses - 1)
            }
        }
        take(1, of: &rest, as: .code)
    }

    private mutating func stepBlockComment(_ rest: inout Substring, depth: Int) {
        if rest.hasPrefix("*/") {
            if depth == 1 { modes.removeLast() } else { modes[modes.count - 1] = .blockComment(depth: depth - 1) }
            return take(2, of: &rest, as: .comment)
        }
        // Swift's block comments nest, C's do not.
        if language == .swift, rest.hasPrefix("/*") {
            modes[modes.count - 1] = .blockComment(depth: depth + 1)
            return take(2, of: &rest, as: .comment)
        }
        take(1, of: &rest, as: .comment)
    }

    private mutating func stepString(_ rest: inout Substring, hashes: Int, isMultiline: Bool) {
        let fence = String(repeating: "#", count: hashes)
        if rest.hasPrefix("\\" + fence) {
            if language == .swift, rest.dropFirst(1 + hashes).first == "(" {
                modes.append(.code(parentheses: 0))
                return take(1 + hashes, of: &rest, as: .literal)
            }
            return take(2 + hashes, of: &rest, as: .literal)
        }
        let quote = (isMultiline ? "\"\"\"" : "\"") + fence
        let endsHere = rest.hasPrefix(quote)
        // An unterminated one-line literal ends with its line, so that one slip does not blank the rest of the file.
        if endsHere || (!isMultiline && rest.first == "\n") { modes.removeLast() }
        take(endsHere ? quote.count : 1, of: &rest, as: .literal)
    }

    private enum Part {
        case code, comment, literal
    }

    /// Moves `count` characters to where they belong and blanks them in the other views; line ends go to both.
    private mutating func take(_ count: Int, of rest: inout Substring, as part: Part) {
        for character in rest.prefix(count) {
            let isLineEnd = character == "\n"
            code.append(isLineEnd || part == .code ? character : " ")
            comments.append(isLineEnd || part == .comment ? character : " ")
        }
        rest = rest.dropFirst(count)
    }
}
