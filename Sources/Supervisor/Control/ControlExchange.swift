/// One client's exchange with the supervisor: a line with a request, then a line with the answer. Plain values, so that it
/// can go on after an exec.
struct ControlExchange: Codable, Equatable {
    enum Phase: Codable, Equatable {
        /// The request's bytes so far.
        case reading([UInt8])
        case waiting(CommandID)
        /// The answer's bytes that the kernel has not taken yet.
        case answering([UInt8])
    }

    /// What has become of the bytes received.
    enum Progress: Equatable {
        case incomplete
        case request([UInt8])
        /// The client went away before it asked anything.
        case gone
        case tooLong
    }

    private(set) var phase = Phase.reading([])

    /// The longest request, in bytes without its line feed.
    static let requestLengthMax = 4096

    /// How many bytes may be received next: one more than a request has tells that it is too long.
    var room: Int {
        guard case .reading(let bytes) = phase else { return 0 }
        return Self.requestLengthMax + 1 - bytes.count
    }

    /// Takes bytes of the request, at most ``room``; what comes behind its line feed is dropped.
    mutating func received(_ part: some Collection<UInt8>) -> Progress {
        guard case .reading(var bytes) = phase else { return .incomplete }
        assert(part.count <= room, "no more is received than there is room for")
        bytes += part
        phase = .reading(bytes)
        if let end = bytes.firstIndex(of: UInt8(ascii: "\n")) { return .request(Array(bytes[..<end])) }
        return room == 0 ? .tooLong : .incomplete
    }

    /// The client will send no more: what it has sent is its request, though no line feed ends it.
    func receivedEnd() -> Progress {
        guard case .reading(let bytes) = phase else { return .incomplete }
        return bytes.isEmpty ? .gone : .request(bytes)
    }

    /// The request has been understood, and waits for its answer.
    mutating func wait(_ command: CommandID) {
        guard case .reading = phase else { preconditionFailure("one request for each client") }
        phase = .waiting(command)
    }

    /// There is an answer: `line` is to be sent.
    mutating func answer(_ line: [UInt8]) {
        if case .answering = phase { preconditionFailure("one answer to each request") }
        phase = .answering(line)
    }

    /// So many bytes of the answer have been sent; returns whether that was all.
    mutating func sent(_ count: Int) -> Bool {
        guard case .answering(let bytes) = phase, count <= bytes.count else {
            preconditionFailure("no more is sent than there is")
        }
        phase = .answering(Array(bytes.dropFirst(count)))
        return count == bytes.count
    }
}
