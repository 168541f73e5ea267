/// What a configuration file consists of, each part with its line, counted from 1.
struct ConfigurationValue {
    enum Content {
        /// Nothing is written, or `null`.
        case nothing
        case text(String)
        case list([ConfigurationValue])
        /// Different keys, in the order in which they are written.
        case mapping([ConfigurationEntry])
    }

    var line: Int
    var content: Content

    /// What it is, for messages.
    var kind: String {
        switch content {
        case .nothing: "nothing"
        case .text: "a single value"
        case .list: "a list"
        case .mapping: "a mapping"
        }
    }
}

/// `key: value`
struct ConfigurationEntry {
    var key: String
    var line: Int
    var value: ConfigurationValue
}
