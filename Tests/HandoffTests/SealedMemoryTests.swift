import CSocket
import Glibc
import Testing

@testable import Handoff

@Suite("Sealed memory") struct SealedMemoryTests {
    @Test("what is put in is read back, however often", arguments: [0, 1, 4_096, 4_097, 1 << 20])
    func roundTrip(size: Int) throws {
        let bytes = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let file = try SealedMemory.make(bytes, name: "handoff-test")
        defer { close(file) }
        for _ in 0..<2 { #expect(try SealedMemory.read(file, sizeMax: size) == bytes) }
    }

    @Test("the file is close-on-exec and nobody can change it any more")
    func isSealed() throws {
        let file = try SealedMemory.make([1, 2, 3], name: "handoff-test")
        defer { close(file) }
        #expect(fcntl(file, F_GETFD) == FD_CLOEXEC)
        #expect(pwrite(file, [9], 1, 0) == -1 && errno == EPERM)
        #expect(ftruncate(file, 2) == -1 && errno == EPERM)
        #expect(ftruncate(file, 4) == -1 && errno == EPERM)
        #expect(try SealedMemory.read(file, sizeMax: 3) == [1, 2, 3])
    }

    @Test("a file larger than the reader takes is refused")
    func tooLarge() throws {
        let file = try SealedMemory.make([1, 2, 3], name: "handoff-test")
        defer { close(file) }
        #expect(throws: HandoffError(call: "sealed memfd", errno: EFBIG)) { try SealedMemory.read(file, sizeMax: 2) }
    }

    @Test("whatever else it is given is refused at once", .timeLimit(.minutes(1)), arguments: HostileFile.allCases)
    func hostile(file: HostileFile) throws {
        let fd = try file.make(size: 64)
        defer { close(fd) }
        #expect(throws: HandoffError.self) { try SealedMemory.read(fd, sizeMax: 1 << 20) }
    }
}

/// What a worker might send in place of a sealed memfd of the right size.
enum HostileFile: CaseIterable {
    case unsealed, resizable, sizeSealedOnly, regularFile, null, zero, pipe, socket, directory, eventfd
    case pathOnly, writeOnly

    /// A descriptor of this kind, which the caller closes, with `size` bytes where it has a size.
    func make(size: Int) throws -> Int32 {
        let fd = try descriptor(size)
        try #require(fd >= 0, "\(self): \(String(cString: strerror(errno)))")
        return fd
    }

    private func descriptor(_ size: Int) throws -> Int32 {
        switch self {
        case .unsealed: return Self.memfd(size, seals: 0)
        // F_SEAL_WRITE | F_SEAL_SEAL: it may still be cut while it is read.
        case .resizable: return Self.memfd(size, seals: 8 | 1)
        case .sizeSealedOnly: return csocket_memfd("handoff-test", size)
        case .regularFile:
            var path = Array("/tmp/handoff-test-XXXXXX".utf8CString)
            let fd = mkstemp(&path)
            unlink(path)
            ftruncate(fd, off_t(size))
            return fd
        case .null: return open("/dev/null", O_RDONLY | O_CLOEXEC)
        case .zero: return open("/dev/zero", O_RDONLY | O_CLOEXEC)
        case .pipe:
            var ends: [Int32] = [-1, -1]
            Glibc.pipe(&ends)
            defer { for end in ends { close(end) } }
            // One end that is both (fifo(7)): a read of it would wait for ever.
            return open("/proc/self/fd/\(ends[0])", O_RDWR | O_CLOEXEC)
        case .socket: return Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        case .directory: return open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        case .eventfd: return csocket_eventfd()
        case .pathOnly, .writeOnly:
            let file = try SealedMemory.make([UInt8](repeating: 1, count: size), name: "handoff-test")
            defer { close(file) }
            let pathFlag: Int32 = 0o10000000  // O_PATH
            return open("/proc/self/fd/\(file)", self == .pathOnly ? pathFlag : O_WRONLY)
        }
    }

    private static func memfd(_ size: Int, seals: Int32) -> Int32 {
        let fd = memoryFileWithoutSeals()
        ftruncate(fd, off_t(size))
        let addSeals: Int32 = 1033  // F_ADD_SEALS
        return fcntl(fd, addSeals, seals) == 0 ? fd : -1
    }
}

/// memfd_create(2) with MFD_CLOEXEC | MFD_ALLOW_SEALING, which Swift's Glibc module leaves out.
private func memoryFileWithoutSeals() -> Int32 {
    guard let symbol = dlsym(nil, "memfd_create") else { return -1 }
    let call = unsafeBitCast(symbol, to: (@convention(c) (UnsafePointer<CChar>, UInt32) -> Int32).self)
    return call("handoff-test", 1 | 2)
}
