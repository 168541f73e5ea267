@testable import Transport

/// Memory that a connection sends from where it lies. Spoilt when it is given back, so that a later look at it shows.
final class SimulatedMemory {
    let bytes: UnsafeMutableRawBufferPointer
    private(set) var isReturned = false

    init(_ count: Int) { bytes = .allocate(byteCount: count, alignment: 1) }

    deinit { bytes.deallocate() }

    func giveBack(_ log: SimulationLog) {
        log.require(!isReturned, "uncopied memory is given back twice")
        isReturned = true
        bytes.initializeMemory(as: UInt8.self, repeating: 0xee)
    }
}
