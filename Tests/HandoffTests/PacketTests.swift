import Testing
import Transport

@testable import Handoff

@Suite("Packet") struct PacketTests {
    @Test("every packet decodes to itself")
    func roundTrip() {
        for packet in PacketSamples.all {
            let bytes = encoded(packet)
            #expect(bytes.count <= Packet.sizeMax)
            #expect(decoded(bytes) == .success(packet))
        }
    }

    @Test("the samples cover every kind and every address family")
    func samplesAreComplete() {
        #expect(Set(PacketSamples.all.map { encoded($0)[1] }) == Set(PacketKind.allCases.map(\.rawValue)))
        let families = PacketSamples.addresses.map { encoded(.connections(first: 0, [PacketSamples.record($0)]))[26] }
        #expect(Set(families) == Set(WireFamily.allCases.map(\.rawValue)))
    }

    @Test("the longest packet is exactly as long as the buffer that every packet fits")
    func longestPacket() {
        let path = SocketAddress.unix(path: String(repeating: "p", count: SocketAddress.unixPathLengthMax))
        let longest = Packet.connections(first: 0, Array(repeating: PacketSamples.record(path), count: 16))
        #expect(encoded(longest).count == Packet.sizeMax)
    }

    @Test("the bytes of a packet are these and no others")
    func bytesAreFixed() {
        let record = ConnectionRecord(
            listener: 0x0102, peer: .ipv4(0x7f00_0001, port: 0x1f90), acceptedAt: MonotonicTime(nanoseconds: 0x0a0b))
        #expect(
            encoded(.connections(first: 0x1122, [record])) == [
                1, 1, 1, 0, 17, 0, 0, 0, 0x22, 0x11, 0, 0, 0, 0, 0, 0,
                0x02, 0x01, 0x0b, 0x0a, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0x7f, 0x90, 0x1f,
            ])
        #expect(
            encoded(.failed(.ringUnavailable, message: "no"))
                == [1, 7, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0x6e, 0x6f])
    }

    @Test("a packet cut anywhere is an error, whether or not the header admits it")
    func truncated() {
        for packet in PacketSamples.all {
            let bytes = encoded(packet)
            for length in 0..<bytes.count {
                #expect(decoded(Array(bytes[..<length])) == .failure(.truncated))
                guard length >= Packet.headerSize else { continue }
                var lying = Array(bytes[..<length])
                lying.replaceSubrange(4..<8, with: littleEndian(UInt32(length - Packet.headerSize)))
                if case .failed(let code, let message) = packet, length > Packet.headerSize {
                    // A message has no length of its own: its beginning is a message too.
                    let beginning = String(message.prefix(length - Packet.headerSize - 1))
                    #expect(decoded(lying) == .success(.failed(code, message: beginning)))
                } else {
                    #expect(decoded(lying) == .failure(.truncated))
                }
            }
        }
    }

    @Test("bytes after a packet are an error, whether or not the header counts them")
    func trailing() {
        for packet in PacketSamples.all {
            var bytes = encoded(packet) + [0]
            #expect(decoded(bytes) == .failure(.trailingBytes(1)))
            bytes.replaceSubrange(4..<8, with: littleEndian(UInt32(bytes.count - Packet.headerSize)))
            switch packet {
            case .failed(let code, let message) where message.utf8.count < Packet.messageLengthMax:
                #expect(decoded(bytes) == .success(.failed(code, message: message + "\0")))
            case .failed(_, let message):
                #expect(decoded(bytes) == .failure(.messageTooLong(message.utf8.count + 1)))
            default:
                #expect(decoded(bytes) == .failure(.trailingBytes(1)))
            }
        }
    }

    @Test("another version is told apart from damage, whatever else is in the packet")
    func version() {
        for version in UInt8.min ... .max where version != Packet.version {
            #expect(decoded([version]) == .failure(.version(version)))
            #expect(decoded([version] + encoded(.ready).dropFirst() + [1, 2, 3]) == .failure(.version(version)))
        }
    }

    @Test("an unknown kind, family, exit code or count is named in the error")
    func unknownValues() {
        let record = encoded(.connections(first: 0, [PacketSamples.record(.ipv4(1, port: 1))]))
        let failed = encoded(.failed(.success, message: ""))
        for byte in UInt8.min ... .max {
            if PacketKind(rawValue: byte) == nil {
                #expect(decoded(replacing(1, in: encoded(.stop), with: byte)) == .failure(.kind(byte)))
            }
            if WireFamily(rawValue: byte) == nil {
                #expect(decoded(replacing(26, in: record, with: byte)) == .failure(.family(byte)))
            }
            if ExitCode(rawValue: Int32(byte)) == nil {
                #expect(decoded(replacing(16, in: failed, with: byte)) == .failure(.exitCode(byte)))
            }
            if byte == 0 || byte > 16 {
                #expect(decoded(replacing(2, in: record, with: byte)) == .failure(.count(UInt16(byte))))
            }
        }
        #expect(decoded(replacing(3, in: record, with: 1)) == .failure(.count(0x0101)))
        #expect(decoded(replacing(2, in: record, with: 2)) == .failure(.truncated))
    }

    @Test("a control packet with a count or a sequence number is an error")
    func controlFields() {
        for packet in PacketSamples.controls {
            #expect(decoded(replacing(2, in: encoded(packet), with: 1)) == .failure(.count(1)))
            #expect(decoded(replacing(8, in: encoded(packet), with: 1)) == .failure(.sequence(1)))
        }
    }

    @Test("a sequence number that would overflow is an error")
    func sequenceOverflow() {
        var bytes = encoded(.connections(first: .max - 1, [PacketSamples.record(.unix(path: ""))]))
        bytes[8] = 0xff
        #expect(decoded(bytes) == .failure(.sequence(.max)))
    }

    @Test("a path that is too long or not UTF-8, and a message that is not, are errors")
    func badText() {
        let record = encoded(.connections(first: 0, [PacketSamples.record(.unix(path: "/a"))]))
        #expect(decoded(replacing(27, in: record, with: 108)) == .failure(.pathTooLong(108)))
        #expect(decoded(replacing(28, in: record, with: 0xff)) == .failure(.notUTF8))
        let failed = encoded(.failed(.internalError, message: "é"))
        #expect(decoded(replacing(18, in: failed, with: 0x41)) == .failure(.notUTF8))
    }

    @Test("a path or message longer than the wire takes is cut between characters")
    func shortened() {
        let path = String(repeating: "é", count: 100)
        let peer = SocketAddress.unix(path: String(path.prefix(53)))
        #expect(
            decoded(encoded(.connections(first: 0, [PacketSamples.record(.unix(path: path))])))
                == .success(.connections(first: 0, [PacketSamples.record(peer)])))
        let message = "m" + String(repeating: "é", count: 400)
        #expect(
            decoded(encoded(.failed(.cannotBind, message: message)))
                == .success(.failed(.cannotBind, message: String(message.prefix(256)))))
    }

    @Test("fewer descriptors than connections are accepted only when the kernel says it dropped some")
    func descriptorCount() throws {
        let packet = Packet.connections(
            first: 0, [PacketSamples.record(.ipv4(1, port: 1)), PacketSamples.record(.ipv4(2, port: 2))])
        try packet.checkDescriptors(found: 2, truncated: false)
        for found in 0...2 { try packet.checkDescriptors(found: found, truncated: true) }
        for (found, truncated) in [(0, false), (1, false), (3, false), (3, true)] {
            #expect(throws: PacketError.descriptors(expected: 2, found: found)) {
                try packet.checkDescriptors(found: found, truncated: truncated)
            }
        }
        #expect(throws: PacketError.descriptors(expected: 0, found: 1)) {
            try Packet.stop.checkDescriptors(found: 1, truncated: false)
        }
    }

    @Test("random bytes never crash the decoder, and what decodes encodes back to the same bytes")
    func randomBytes() {
        var random = SeededGenerator(seed: 0x52_49_4e_47)
        let samples = PacketSamples.all.map(encoded)
        var accepted = 0
        for step in 0..<150_000 {
            var bytes: [UInt8]
            if step.isMultiple(of: 3) {
                bytes = (0..<Int.random(in: 0...64, using: &random)).map { _ in .random(in: 0...255, using: &random) }
                if bytes.count > 1 { bytes[0] = Packet.version }
            } else {
                bytes = samples[Int.random(in: 0..<samples.count, using: &random)]
                for _ in 0..<Int.random(in: 1...3, using: &random) {
                    bytes[Int.random(in: 0..<bytes.count, using: &random)] = .random(in: 0...255, using: &random)
                }
            }
            guard case .success(let packet) = decoded(bytes) else { continue }
            accepted += 1
            if encoded(packet) != bytes { Issue.record("step \(step): \(packet) encodes to other bytes than \(bytes)") }
        }
        #expect(accepted > 1_000, "the mutations leave some packets valid, or nothing was shown")
    }

    private func replacing(_ index: Int, in bytes: [UInt8], with byte: UInt8) -> [UInt8] {
        var changed = bytes
        changed[index] = byte
        return changed
    }

    private func littleEndian(_ value: UInt32) -> [UInt8] { withUnsafeBytes(of: value.littleEndian, Array.init) }
}
