import Glibc
import Synchronization

/// The `Date` header's value (RFC 9110, 5.6.7): made once a second, for all requests of it. Any thread.
package final class HTTPDate: Sendable {
    private struct Made {
        var time: time_t
        var text: String
    }

    private let made = Mutex(Made(time: -1, text: ""))

    var now: String {
        let now = time(nil)
        return made.withLock { made in
            if made.time != now { made = Made(time: now, text: Self.text(now)) }
            return made.text
        }
    }

    /// Of seconds since 1970.
    package static func text(_ time: time_t) -> String {
        var time = time
        var parts = tm()
        gmtime_r(&time, &parts)
        let date = "\(twoDigits(parts.tm_mday)) \(months[Int(parts.tm_mon)]) \(parts.tm_year + 1900)"
        let clock = "\(twoDigits(parts.tm_hour)):\(twoDigits(parts.tm_min)):\(twoDigits(parts.tm_sec))"
        return "\(days[Int(parts.tm_wday)]), \(date) \(clock) GMT"
    }

    private static let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
    private static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

    private static func twoDigits(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
}
