import Glibc
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("File regions: files")
struct FileRegionFileTests {
    @Test("only a regular file has regions")
    func regularFilesOnly() throws {
        let device = OwnedDescriptor(open("/dev/null", O_RDONLY | O_CLOEXEC))
        #expect(throws: SystemError("fstat", code: EINVAL)) { try FileRegion(device, count: 1) }
        let file = try TestFile([1])
        #expect(try OwnedDescriptor(copying: file.descriptor.fd).fd != file.descriptor.fd)
        #expect(throws: SystemError("fcntl", code: EBADF)) { try OwnedDescriptor(copying: 1 << 20) }
    }
}
