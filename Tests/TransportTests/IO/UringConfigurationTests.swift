import Glibc
import Testing

@testable import Transport

@Suite("io_uring: the sizes of a ring")
struct UringConfigurationTests {
    @Test(
        "sizes get smaller down to the least, and the completion queue stays the larger one",
        arguments: [64, 256, 4096])
    func smaller(submissionEntries: UInt32) throws {
        var configuration = UringConfiguration()
        configuration.submissionEntries = submissionEntries
        configuration.completionEntries = 4096
        for _ in 0..<10 {
            guard let smaller = configuration.smaller else { break }
            #expect(smaller.completionEntries < configuration.completionEntries)
            #expect(throws: Never.self) { try smaller.validate() }
            configuration = smaller
        }
        #expect(configuration.completionEntries == UringConfiguration.completionEntriesMin)
        #expect(configuration.submissionEntries <= UringConfiguration.completionEntriesMin)
        #expect(configuration.smaller == nil)
    }

    @Test("sizes that no kernel takes are told as such, not as an old kernel", arguments: [(0, 4096), (256, 128)])
    func invalid(submissionEntries: UInt32, completionEntries: UInt32) throws {
        var configuration = UringConfiguration()
        configuration.submissionEntries = submissionEntries
        configuration.completionEntries = completionEntries
        let error = SystemError(UringConfiguration.sizesCall, code: EINVAL)
        #expect(throws: error) { try configuration.validate() }
        guard case .unavailable(let cause) = UringAvailability.probe(configuration) else {
            Issue.record("a ring of such sizes")
            return
        }
        #expect(cause == .failed(error))
    }
}
