import Glibc
import Transport

/// A failure of the harness or of what it drives, with all that a reader of the log needs.
struct HarnessError: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }

    /// `call` failed with the current errno.
    static func system(_ call: String) -> HarnessError {
        HarnessError("\(call): \(String(cString: strerror(errno)))")
    }
}

/// How long a test waits for what must happen, before it fails: long enough for a busy machine, never a measure of speed.
let patience: Duration = .seconds(30)

/// Returns as soon as `condition` holds; throws when it does not within `limit`.
func wait(
    for what: @autoclosure () -> String, within limit: Duration = patience, until condition: () throws -> Bool
) throws {
    let deadline = MonotonicTime.now + limit
    while try !condition() {
        guard MonotonicTime.now < deadline else { throw HarnessError("gave up waiting for \(what())") }
        usleep(10_000)
    }
}

extension MonotonicTime {
    /// Milliseconds from now until this moment, for poll(2); 0 when it is over.
    var millisecondsLeft: Int32 {
        Int32(clamping: ((self - .now).wholeNanoseconds + 999_999) / 1_000_000)
    }
}
