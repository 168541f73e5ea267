import Glibc
import Testing

@testable import Transport

/// A file without a name.
struct TestFile {
    let descriptor: OwnedDescriptor

    init(_ bytes: [UInt8]) throws {
        var name = Array("/tmp/ringmaster-test-XXXXXX".utf8CString)
        let fd = mkstemp(&name)
        try #require(fd >= 0)
        unlink(name)
        descriptor = OwnedDescriptor(fd)
        try #require(bytes.withUnsafeBytes { Glibc.write(fd, $0.baseAddress, $0.count) } == bytes.count)
    }

    func region(_ offset: Int = 0, _ count: Int) throws -> FileRegion {
        try FileRegion(descriptor, offset: Int64(offset), count: count)
    }
}

/// Which open file a descriptor refers to: the same for all its copies.
struct FileIdentity: Hashable {
    let device: UInt64
    let inode: UInt64

    /// nil when the descriptor is not open.
    init?(_ fd: Int32) {
        var status = stat()
        guard fstat(fd, &status) == 0 else { return nil }
        (device, inode) = (UInt64(status.st_dev), UInt64(status.st_ino))
    }
}

/// A connected pair of TCP sockets.
func tcpPair() throws -> (Int32, Int32) {
    let listener = try Socket.listen(.anyLoopback, backlog: 1)
    defer { close(listener) }
    let client = try Socket.stream(AF_INET)
    let address = try #require(Socket.localAddress(of: listener))
    try #require(address.withSockaddr { connect(client, $0, $1) } == 0)
    let accepted = accept(listener, nil, nil)
    try #require(accepted >= 0)
    return (client, accepted)
}
