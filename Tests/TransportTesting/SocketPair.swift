import Foundation

@testable import Transport

/// A connected pair of stream sockets, closed at the end.
final class SocketPair {
    let left: Int32
    let right: Int32

    init() throws {
        var pair: [Int32] = [-1, -1]
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        guard socketpair(AF_UNIX, type, 0, &pair) == 0 else { throw SystemError.last("socketpair") }
        (left, right) = (pair[0], pair[1])
    }

    /// Ends the output of one of them: its peer reads the end.
    func finishOutput(of fd: Int32) { shutdown(fd, Int32(SHUT_WR)) }

    deinit {
        close(left)
        close(right)
    }
}
