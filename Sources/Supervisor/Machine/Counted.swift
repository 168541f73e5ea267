/// `1 worker`, `2 workers`: a number with its noun, for a sentence.
public func counted(_ count: Int, _ noun: String) -> String { "\(count) \(noun)\(count == 1 ? "" : "s")" }
