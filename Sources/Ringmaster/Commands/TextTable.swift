/// Columns of text under a heading, for a terminal. The columns are as wide as what stands in them.
struct TextTable {
    enum Alignment {
        case left, right
    }

    private let columns: [(heading: String, alignment: Alignment)]
    private var rows: [[String]] = []

    private static let gap = "  "

    /// A table of these columns.
    init(_ columns: [(heading: String, alignment: Alignment)]) {
        self.columns = columns
    }

    /// Adds a row below the others.
    mutating func add(_ cells: [String]) {
        precondition(cells.count == columns.count, "a row has a cell in each column")
        rows.append(cells)
    }

    /// The heading and the rows, without spaces at their ends.
    var lines: [String] {
        let all = [columns.map(\.heading)] + rows
        let widths = columns.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
        return all.map { cells in
            let padded = zip(zip(cells, widths), columns).map { cell, column in
                let padding = String(repeating: " ", count: cell.1 - cell.0.count)
                return column.alignment == .left ? cell.0 + padding : padding + cell.0
            }
            var line = padded.joined(separator: Self.gap)
            while line.last == " " { line.removeLast() }
            return line
        }
    }
}
