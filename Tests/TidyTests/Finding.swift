/// One breach of the house's rules.
struct Finding: Equatable, CustomStringConvertible {
    let path: String
    /// The line, counted from 1.
    let line: Int
    /// What is wrong and how to mend it.
    let message: String

    var description: String { "\(path):\(line): \(message)" }
}

extension StringProtocol {
    /// The line without the white space around it.
    var trimmed: Substring {
        let isSpace: (Character) -> Bool = { $0 == " " || $0 == "\t" || $0 == "\r" }
        let start = Substring(self).drop(while: isSpace)
        guard let end = start.lastIndex(where: { !isSpace($0) }) else { return "" }
        return start[...end]
    }

    /// Whether `token` occurs in the line and is no part of a longer identifier on its left.
    func containsToken(_ token: String) -> Bool {
        Substring(self).ranges(of: token).contains { range in
            guard range.lowerBound > startIndex else { return true }
            let before = self[index(before: range.lowerBound)]
            return !(before.isLetter || before.isNumber || before == "_")
        }
    }
}
