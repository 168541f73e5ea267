import Glibc

@testable import Transport

/// What a detached connection left, and its socket, as a test can keep them.
struct Handed: Sendable {
    let remainder: ConnectionRemainder
    let fd: Int32

    init(_ detached: consuming DetachedConnection) {
        remainder = detached.remainder
        fd = detached.takeDescriptor()
    }
}

/// Two connected Unix-domain sockets, each the caller's.
func streamPair() throws -> (near: Int32, peer: Peer) {
    var pair: [Int32] = [-1, -1]
    let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
    guard socketpair(AF_UNIX, type, 0, &pair) == 0 else { throw SystemError.last("socketpair") }
    return (pair[0], Peer(fd: pair[1]))
}
