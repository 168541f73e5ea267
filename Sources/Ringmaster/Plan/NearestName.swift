/// Finds what somebody meant who has misspelt a name.
enum NearestName {
    /// The most letters that may be wrong, missing or too many.
    private static let distanceMax = 2

    /// The candidate nearest to `name`; nil when none is near.
    static func find(_ name: String, among candidates: [String]) -> String? {
        let written = Array(name.lowercased().map { $0 == "_" ? "-" : $0 })
        // The work is bounded by the longest candidate.
        guard written.count <= (candidates.map(\.count).max() ?? 0) + distanceMax else { return nil }
        let distances = candidates.map { (name: $0, distance: distance(written, Array($0))) }
        guard let nearest = distances.min(by: { $0.distance < $1.distance }) else { return nil }
        // Of a short name two letters are too much of it.
        return nearest.distance <= min(distanceMax, nearest.name.count / 3) ? nearest.name : nil
    }

    /// Letters to insert, delete or replace (Levenshtein), row by row.
    private static func distance(_ first: [Character], _ second: [Character]) -> Int {
        var row = Array(0...second.count)
        for (i, letter) in first.enumerated() {
            var diagonal = row[0]
            row[0] = i + 1
            for (j, other) in second.enumerated() {
                let replaced = diagonal + (letter == other ? 0 : 1)
                diagonal = row[j + 1]
                row[j + 1] = min(replaced, diagonal + 1, row[j] + 1)
            }
        }
        return row[second.count]
    }
}
