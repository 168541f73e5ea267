import Glibc
import Logging

/// How a log record is written: `--log-format`.
enum LogFormat: String, CaseIterable, Sendable {
    /// `2026-11-21T03:25:10.123Z info supervisor: message key=value`
    case text
    /// `{"time":"…","level":"info","source":"supervisor","message":"message","key":"value","count":1}`
    case json
}

/// Writes each log record as one line, with a single write(2), so that lines of several processes do not mix.
///
/// That holds for files and, up to PIPE_BUF (4096 bytes, pipe(7)), for pipes. A line that cannot be written is lost: there
/// is nobody to tell. SIGPIPE must be ignored by the process, or a reader that goes away ends it.
struct LineLogHandler: LogHandler {
    /// The logger's label, which stands in the line as the source.
    let label: String
    let format: LogFormat
    /// Where to write; not closed by the handler.
    let descriptor: Int32
    /// How often a write(2) that signals interrupt is tried.
    private static let attemptsMax = 16
    /// Wall-clock time of a record.
    private let clock: @Sendable () -> timespec

    var logLevel: Logger.Level
    var metadata: Logger.Metadata = [:]
    var metadataProvider: Logger.MetadataProvider?

    init(
        label: String, format: LogFormat, level: Logger.Level, descriptor: Int32 = STDERR_FILENO,
        clock: @escaping @Sendable () -> timespec = LineLogHandler.wallClock
    ) {
        self.label = label
        self.format = format
        self.descriptor = descriptor
        self.clock = clock
        logLevel = level
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let record = LogRecord(
            time: clock(), level: event.level.rawValue, source: label, message: event.message.description,
            fields: fields(of: event))
        let line = format == .text ? record.textLine : record.jsonLine
        line.withUnsafeBytes { bytes in
            for _ in 0..<Self.attemptsMax {
                let count = write(descriptor, bytes.baseAddress, bytes.count)
                // EINTR says that nothing was written, so that trying again keeps the line whole.
                guard count < 0 && errno == EINTR else { return }
            }
        }
    }

    /// What the event says goes before what the provider says, and that before what the logger carries.
    private func fields(of event: LogEvent) -> [(key: String, value: LogRecord.Value)] {
        var merged = metadata
        if let provided = metadataProvider?.get() { merged.merge(provided) { $1 } }
        if let error = event.error { merged["error"] = "\(error)" }
        if let own = event.metadata { merged.merge(own) { $1 } }
        return merged.map { ($0.key, LogRecord.Value($0.value)) }.sorted { $0.key < $1.key }
    }

    private static func wallClock() -> timespec {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return time
    }
}
