/// Every public name has a doc comment, and so has what is public through its container: the cases of a public
/// enum, the requirements of a public protocol, the members of a public extension.
enum DocumentationRule {
    private static let modifiers: Set<Substring> = [
        "public", "open", "package", "internal", "fileprivate", "private", "static", "final", "override", "required",
        "convenience", "mutating", "nonmutating", "consuming", "borrowing", "lazy", "weak", "unowned", "dynamic",
        "indirect", "nonisolated", "isolated", "distributed", "prefix", "postfix", "infix",
    ]
    private static let keywords: Set<Substring> = [
        "func", "var", "let", "class", "struct", "enum", "actor", "protocol", "typealias", "associatedtype", "init",
        "subscript", "case", "macro", "precedencegroup", "operator", "extension",
    ]
    private static let containerKeywords: Set<Substring> = [
        "class", "struct", "enum", "actor", "protocol", "extension",
    ]

    /// What a line declares.
    private struct Declaration {
        let keyword: Substring
        let modifiers: [Substring]

        var isPublic: Bool { modifiers.contains("public") || modifiers.contains("open") }
        var isHidden: Bool { modifiers.contains { ["private", "fileprivate", "internal", "package"].contains($0) } }

        /// Whether a member of this declaration is public without saying so.
        func makesPublic(_ member: Declaration) -> Bool {
            guard isPublic else { return false }
            switch keyword {
            case "enum": return member.keyword == "case"
            case "protocol": return true
            case "extension": return !member.isHidden
            default: return false
            }
        }
    }

    /// Public declarations of `file` that lack a doc comment.
    static func findings(in file: SourceFile) -> [Finding] {
        guard file.language == .swift else { return [] }
        var findings: [Finding] = []
        /// The types whose braces are open; nil for a brace that opens something else.
        var containers: [Declaration?] = []
        /// A type that was declared and whose brace is still to come.
        var opener: Declaration?
        for (index, line) in file.code.enumerated() {
            if let declaration = parse(line) {
                opener = containerKeywords.contains(declaration.keyword) ? declaration : nil
                let isImplicitlyPublic = containers.last??.makesPublic(declaration) ?? false
                let isExtension = declaration.keyword == "extension"
                if declaration.isPublic || isImplicitlyPublic, !isExtension, !isDocumented(file, line: index) {
                    findings.append(
                        Finding(
                            path: file.path, line: index + 1,
                            message: "a public \(declaration.keyword) needs a /// comment right above it"))
                }
            }
            for character in line {
                if character == "{" {
                    containers.append(opener)
                    opener = nil
                } else if character == "}" {
                    _ = containers.popLast()
                }
            }
        }
        return findings
    }

    /// Whether a doc comment stands above the line, with nothing but attributes and conditions between.
    private static func isDocumented(_ file: SourceFile, line index: Int) -> Bool {
        for above in stride(from: index - 1, through: 0, by: -1) {
            let code = file.code[above].trimmed
            if code.hasPrefix("@") || code.hasPrefix("#") { continue }
            return code.isEmpty && file.comments[above].trimmed.hasPrefix("///")
        }
        return false
    }

    /// Reads the attributes, the modifiers and the keyword at the start of a line; nil when it declares nothing.
    private static func parse(_ line: String) -> Declaration? {
        var rest = line.trimmed
        var found: [Substring] = []
        while true {
            let isAttribute = rest.first == "@"
            let word = rest.dropFirst(isAttribute ? 1 : 0).prefix { $0.isLetter || $0.isNumber || $0 == "_" }
            guard !word.isEmpty else { return nil }
            if !isAttribute, keywords.contains(word) { return Declaration(keyword: word, modifiers: found) }
            guard isAttribute || modifiers.contains(word) else { return nil }
            rest = rest[word.endIndex...]
            // The argument of an attribute or of a modifier such as `private(set)`, which does not hide the getter.
            let hasArgument = rest.first == "("
            if hasArgument { rest = rest.drop { $0 != ")" }.dropFirst() }
            if !isAttribute, !hasArgument { found.append(word) }
            rest = rest.trimmed
        }
    }
}
