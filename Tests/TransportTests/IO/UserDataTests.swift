import CRing
import Testing

@testable import Transport

@Suite("User data")
struct UserDataTests {
    static let generations: [UInt32] = [0, 1, 0xff, 0x100, 0xffff, 0x7f_ffff, 0x80_0000, 0xff_fffe, 0xff_ffff]
    static let slots: [UInt32] = [0, 1, 0xff, 0xffff, 0x1_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff]

    @Test("every kind with every edge of generation and slot comes back as it went in (netty 8)")
    func roundTrip() {
        var seen: Set<UInt64> = []
        for kind in OperationKind.allCases {
            for generation in Self.generations {
                for slot in Self.slots {
                    let id = RegistrationID(slot: slot, generation: generation)
                    let packed = UserData(kind, id)
                    #expect(packed.kind == kind)
                    #expect(packed.registration == id)
                    #expect(packed.rawValue != 0)
                    #expect(seen.insert(packed.rawValue).inserted, "two operations with the same user data")
                }
            }
        }
    }

    @Test("C and Swift agree on where each field is")
    func layout() {
        let packed = UserData(.cancelPoll, RegistrationID(slot: 0x89ab_cdef, generation: 0x12_3456))
        #expect(packed.rawValue == 0x1012_3456_89ab_cdef)
        #expect(cring_user_data(16, 0x12_3456, 0x89ab_cdef) == packed.rawValue)
        #expect(cring_user_data_operation(packed.rawValue) == 16)
        #expect(cring_user_data_generation(packed.rawValue) == 0x12_3456)
        #expect(cring_user_data_slot(packed.rawValue) == 0x89ab_cdef)
        #expect(RegistrationID.generationMax == CRING_GENERATION_MAX)
    }

    @Test("the operation's bits are none of a generation that does not fit")
    func generationTooLarge() {
        #expect(cring_user_data(1, 0xff00_0001, 2) == cring_user_data(1, 1, 2))
    }

    @Test("kinds are numbered from 1 without a gap, in the order of their cases, as the look-up relies on")
    func numbers() {
        #expect(OperationKind.allCases.map(\.rawValue) == Array(1...UInt8(OperationKind.allCases.count)))
        for kind in OperationKind.allCases { #expect(OperationKind(rawValue: kind.rawValue) == kind) }
    }

    @Test("bits that were never packed have no kind")
    func foreignBits() {
        #expect(UserData(rawValue: 0).kind == nil)
        #expect(UserData(rawValue: .max).kind == nil)
        for operation in UInt64(0)...255 {
            let kind = UserData(rawValue: operation << 56 | 0xffff).kind
            #expect((kind != nil) == OperationKind.allCases.contains { UInt64($0.rawValue) == operation })
        }
    }

    @Test("each kind is cancelled by a kind of its own, which cannot itself be cancelled")
    func cancellations() {
        let targets = OperationKind.allCases.filter { $0.cancellation != nil }
        let cancellations = targets.compactMap(\.cancellation)
        #expect(Set(cancellations).count == targets.count)
        #expect(Set(targets).union(cancellations).count == OperationKind.allCases.count)
        for cancellation in cancellations { #expect(cancellation.cancellation == nil) }
        #expect(OperationKind.cancellableBits == targets.reduce(0) { $0 | $1.bit })
        #expect(Set(OperationKind.allCases.map(\.bit)).count == OperationKind.allCases.count)
    }

    @Test("a completion is read with the kernel's flag bits")
    func completion() {
        let id = RegistrationID(slot: 3, generation: 4)
        let plain = Completion(userData: UserData(.send, id), result: 5, flags: 0)
        #expect(!plain.hasMore && plain.buffer == nil)
        let flags = UInt32(CRING_COMPLETION_BUFFER | CRING_COMPLETION_MORE) | 0xffff << 16
        let received = Completion(userData: UserData(.receive, id), result: 5, flags: flags)
        #expect(received.hasMore && received.buffer == 0xffff)
        #expect(MemoryLayout<Completion>.size == MemoryLayout<cring_completion>.size)
        #expect(MemoryLayout<Completion>.offset(of: \.result) == MemoryLayout<cring_completion>.offset(of: \.result))
        #expect(MemoryLayout<Completion>.offset(of: \.flags) == MemoryLayout<cring_completion>.offset(of: \.flags))
    }
}
