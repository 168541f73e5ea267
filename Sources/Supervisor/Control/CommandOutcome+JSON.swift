// An outcome as `status --json` shows it: `{"result":"done","message":"…"}`.
extension CommandOutcome {
    private enum Key: String, CodingKey {
        case result, message
    }

    private enum Result: String, Codable {
        case done, refused, failed
    }

    /// Reads what ``encode(to:)`` has written.
    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: Key.self)
        let message = try values.decode(String.self, forKey: .message)
        switch try values.decode(Result.self, forKey: .result) {
        case .done: self = .done(message)
        case .refused: self = .refused(message)
        case .failed: self = .failed(message)
        }
    }

    /// Writes the outcome and its sentence.
    public func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: Key.self)
        let (result, message): (Result, String) =
            switch self {
            case .done(let message): (.done, message)
            case .refused(let message): (.refused, message)
            case .failed(let message): (.failed, message)
            }
        try values.encode(result, forKey: .result)
        try values.encode(message, forKey: .message)
    }
}

extension ControlReply {
    /// The answer that tells what became of a command.
    public init(_ outcome: CommandOutcome) {
        switch outcome {
        case .done(let message): self.init(ok: true, message: message)
        case .refused(let message), .failed(let message): self.init(ok: false, message: message)
        }
    }
}
