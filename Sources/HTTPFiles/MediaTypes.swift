import Hummingbird

/// What a file is, by the end of its name.
enum MediaTypes {
    /// Those that Hummingbird does not know.
    static let own: [MediaType.FileExtension: MediaType] = {
        // RFC 7763 has no default character set.
        let markdown = MediaType(type: .text, subType: "markdown", parameter: ("charset", "utf-8"))
        return [.init("md"): markdown, .init("markdown"): markdown]
    }()

    static func of(_ fileExtension: MediaType.FileExtension) -> MediaType? {
        MediaType.getMediaType(forExtension: fileExtension) ?? own[fileExtension]
    }
}
