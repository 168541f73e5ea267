import Glibc
import Transport

/// The client's side of the control socket: one request, one answer, with blocking calls.
public enum ControlCall {
    /// An answer may be this long, in bytes.
    private static let answerLengthMax = 16 * 1024 * 1024
    /// To be accepted and to hand over the request, in seconds.
    private static let sendTimeoutSeconds = 5

    /// Sends `request` to the supervisor that listens at `path`, and waits for its answer.
    ///
    /// - Throws: a sentence, when nobody listens there, this user may not ask, or no answer comes within `timeout`.
    public static func make(
        _ request: ControlRequest, at path: String, timeout: Duration
    ) throws(ControlCallError) -> ControlReply {
        let fd = try connected(path)
        defer { close(fd) }
        // Who is turned away is so before it has asked: the answer says why.
        send(request, fd)
        let line = try receiveLine(fd, by: .now + timeout, timeout)
        do {
            return try ControlLine.decode(ControlReply.self, from: line)
        } catch {
            throw ControlCallError(description: "what listens at \(path) gave an answer that makes no sense")
        }
    }

    private static func connected(_ path: String) throws(ControlCallError) -> Int32 {
        guard !path.isEmpty, path.utf8.count <= SocketAddress.unixPathLengthMax, !path.utf8.contains(0) else {
            throw ControlCallError(
                description: "'\(path)' is no control socket: a path has 1 to \(SocketAddress.unixPathLengthMax) bytes")
        }
        let fd = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard fd >= 0 else { throw ControlCallError(description: "socket: \(String(cString: strerror(errno)))") }
        var timeout = timeval(tv_sec: sendTimeoutSeconds, tv_usec: 0)
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
        let result = SocketAddress.unix(path: path).withSockaddr { connect(fd, $0, $1) }
        guard result != 0 else { return fd }
        let code = errno
        close(fd)
        throw .notConnected(path, code)
    }

    private static func send(_ request: ControlRequest, _ fd: Int32) {
        guard let line = try? ControlLine.encode(request) else { preconditionFailure("a request has a JSON form") }
        var sent = 0
        while sent < line.count {
            let count = line[sent...].withUnsafeBytes {
                Glibc.send(fd, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count < 0, errno != EINTR { return }
            sent += max(0, count)
        }
    }

    /// The first line, or what came before the end of file.
    private static func receiveLine(
        _ fd: Int32, by deadline: MonotonicTime, _ timeout: Duration
    ) throws(ControlCallError) -> [UInt8] {
        var line: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 64 * 1024)
        while line.count <= answerLengthMax {
            let left = (deadline - .now).wholeNanoseconds / 1_000_000
            var descriptor = pollfd(fd: fd, events: Int16(POLLIN), revents: 0)
            guard left > 0 else {
                throw ControlCallError(
                    description: "no answer within \(timeout.secondsText) s; what was asked may still be done")
            }
            // Interrupted, or woken early because the time left has no number here: look again.
            guard poll(&descriptor, 1, Int32(clamping: left)) > 0 else { continue }
            let count = recv(fd, &buffer, buffer.count, 0)
            guard count > 0 else { break }
            line += buffer[..<count]
            if let end = line.firstIndex(of: UInt8(ascii: "\n")) { return Array(line[..<end]) }
        }
        throw ControlCallError(description: "the supervisor ended before it answered")
    }
}

/// Why a request has no answer: a sentence for the operator.
public struct ControlCallError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The sentence, without a full stop at its end.
    public var description: String

    fileprivate static func notConnected(_ path: String, _ code: Int32) -> ControlCallError {
        switch code {
        case ENOENT, ECONNREFUSED:
            ControlCallError(description: "nobody listens at \(path): is a server running with --control \(path)?")
        case EACCES, EPERM:
            ControlCallError(
                description: "\(path) is not for this user: ask as the user that runs the server, or as root")
        case EAGAIN:
            ControlCallError(description: "what listens at \(path) does not take connections: is it stopped?")
        default:
            ControlCallError(description: "cannot connect to \(path): \(String(cString: strerror(code)))")
        }
    }
}

extension Duration {
    /// In seconds, with a fraction only where there is one.
    fileprivate var secondsText: String {
        let milliseconds = wholeNanoseconds / 1_000_000
        return milliseconds % 1000 == 0 ? "\(milliseconds / 1000)" : "\(Double(milliseconds) / 1000)"
    }
}
