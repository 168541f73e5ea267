import HTTPTypes
import Hummingbird

/// Byte ranges as RFC 9110, section 14 has them: the last bytes of a file (`bytes=-500`), ranges beyond its end (416), and
/// what is no range or several of them (ignored, as is allowed). The file middleware inside is asked for plain ranges only.
struct Ranges<Context: RequestContext>: RouterMiddleware {
    func handle(
        _ request: Request, context: Context, next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        guard let value = request.headers[.range] else { return try await next(request, context) }
        let condition = request.headers[.ifRange]
        let request = request.changed {
            $0.headerFields[.range] = nil
            $0.headerFields[.ifRange] = nil
        }
        guard request.method == .get, let wanted = WantedRange(value) else { return try await next(request, context) }
        let whole = try await next(request.changed { $0.method = .head }, context)
        guard whole.status == .ok, let size = whole.headers[.contentLength].flatMap({ Int($0) }) else { return whole }
        if let condition, !EntityTag.isTheSame(condition, whole.headers[.eTag]) {
            return try await next(request, context)
        }
        guard let range = wanted.within(size) else {
            return RequestRules<Context>.refusal(.rangeNotSatisfiable, [.contentRange: "bytes */\(size)"])
        }
        let plain = "bytes=\(range.lowerBound)-\(range.upperBound)"
        let part = try await next(request.changed { $0.headerFields[.range] = plain }, context)
        // Replaced since the range was chosen: the client may have the rest of what it was before.
        return EntityTag.matches(part.headers[.eTag], whole.headers[.eTag]) ? part : try await next(request, context)
    }
}

/// One range of bytes, as a request names it.
enum WantedRange: Equatable {
    case from(Int)
    case fromTo(Int, Int)
    case last(Int)

    /// Nil for another unit, several ranges, or what makes no sense.
    init?(_ value: String) {
        guard value.lowercased().hasPrefix("bytes=") else { return nil }
        let text = value.dropFirst("bytes=".count).trimmingSpaces
        let parts = text.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2 else { return nil }
        switch (Self.number(parts[0]), Self.number(parts[1])) {
        case (let first?, let last?) where first <= last: self = .fromTo(first, last)
        case (let first?, nil) where parts[1].isEmpty: self = .from(first)
        case (nil, let count?) where parts[0].isEmpty: self = .last(count)
        default: return nil
        }
    }

    private static func number(_ text: Substring) -> Int? {
        text.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) } ? Int(text) : nil
    }

    /// What of it there is in a file of `size` bytes; nil when there is nothing.
    func within(_ size: Int) -> ClosedRange<Int>? {
        switch self {
        case .from(let first): first < size ? first...size - 1 : nil
        case .fromTo(let first, let last): first < size ? first...min(last, size - 1) : nil
        case .last(let count): count > 0 && size > 0 ? max(0, size - count)...size - 1 : nil
        }
    }
}

extension Substring {
    fileprivate var trimmingSpaces: Substring {
        var text = self
        while text.first == " " || text.first == "\t" { text.removeFirst() }
        while text.last == " " || text.last == "\t" { text.removeLast() }
        return text
    }
}
