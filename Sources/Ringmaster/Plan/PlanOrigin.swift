/// Where options are written in a configuration file, for messages.
struct PlanOrigin: Sendable {
    /// An option that is given, one for each value of a list.
    struct Given: Sendable {
        let name: String
        let value: String
        let line: Int
    }

    /// The file's name.
    let file: String
    /// Where they begin, or what they belong to.
    let line: Int
    let given: [Given]

    /// An error with the line of the option with which its message begins, and with that option as the file names it:
    /// `f.yaml:7: root: /site: …` for `--root /site: …`.
    func located(_ error: CommandError) -> CommandError {
        guard error.message.hasPrefix("--") else {
            return CommandError(error.code, "\(file):\(line): \(error.message)")
        }
        let name = String(error.message.dropFirst(2).prefix { $0.isLetter || $0.isNumber || $0 == "-" })
        let rest = error.message.dropFirst(2 + name.count).drop { $0 == ":" || $0 == " " }
            .replacing("--\(name)", with: name)
        let options = given.filter { $0.name == name }
        let culprit = options.first { rest.hasPrefix($0.value) } ?? options.first
        return CommandError(error.code, "\(file):\(culprit?.line ?? line): \(name): \(rest)")
    }
}
