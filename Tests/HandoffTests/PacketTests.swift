import Testing
import Transport

@testable import Handoff

@Suite("Packet") struct PacketTests {
    @Test("every packet decodes to itself, in every version that has it", arguments: Packet.versionMin...Packet.version)
    func roundTrip(version: UInt8) {
        for packet in PacketSamples.all(in: version) {
            let bytes = encoded(packet, version: version)
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
        let longest = Packet.migrated(
            first: 0, PacketSamples.moved(path, socketCount: 1, stateSize: MigratedConnection.inlineStateMax))
        #expect(encoded(longest).count == Packet.sizeMax)
        let sixteen = Packet.connections(first: 0, Array(repeating: PacketSamples.record(path), count: 16))
        #expect(encoded(sixteen).count == 16 + 16 * 119)
    }

    @Test("a packet cut anywhere is an error, whether or not the header admits it")
    func truncated() {
        for packet in PacketSamples.all + PacketSamples.movedWithFile {
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
        for packet in PacketSamples.all + PacketSamples.movedWithFile {
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
        for version in UInt8.min ... .max where !(Packet.versionMin...Packet.version ~= version) {
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

    @Test("a moved connection is one connection, with a sequence number or an offer's number that fits")
    func movedHeader() {
        for packet in PacketSamples.moved + PacketSamples.movedWithFile {
            let bytes = encoded(packet)
            for count: UInt8 in [0, 2, 16, 255] {
                #expect(decoded(replacing(2, in: bytes, with: count)) == .failure(.count(UInt16(count))))
            }
            #expect(decoded(replacing(3, in: bytes, with: 1)) == .failure(.count(0x0101)))
        }
        let connection = PacketSamples.moved(.unix(path: ""), socketCount: 1, stateSize: 0)
        let last = encoded(.migrated(first: .max - 1, connection))
        #expect(decoded(replacing(8, in: last, with: 0xff)) == .failure(.sequence(.max)))
        let offer = encoded(.offer(number: 0, connection))
        #expect(decoded(replacing(12, in: offer, with: 1)) == .failure(.sequence(1 << 32)))
    }

    @Test("a moved connection has 1 to 4 sockets")
    func socketCounts() {
        let connection = PacketSamples.moved(.unix(path: ""), socketCount: 1, stateSize: 0)
        for packet in [Packet.migrated(first: 0, connection), .offer(number: 0, connection)] {
            for count in UInt8.min ... .max {
                let result = decodedWhole(replacing(28, in: encoded(packet), with: count))
                if 1...4 ~= count {
                    #expect(result.map(\.descriptorCount) == .success(Int(count)))
                } else {
                    #expect(result.map(\.descriptorCount) == .failure(.socketCount(count)))
                }
            }
        }
    }

    @Test("a state of up to 4,096 bytes is in the packet, one of up to 16 MiB in a file, and no other is taken")
    func stateSizes() {
        let connection = PacketSamples.moved(.unix(path: ""), socketCount: 2, stateSize: 0)
        let bytes = encoded(.migrated(first: 0, connection))
        func decodedWithState(_ size: UInt32, inline: Int) -> Result<Int, PacketError> {
            var bytes = Array(bytes.prefix(29)) + littleEndian(size) + [UInt8](repeating: 1, count: inline)
            bytes.replaceSubrange(4..<8, with: littleEndian(UInt32(bytes.count - Packet.headerSize)))
            return decodedWhole(bytes).map(\.stateFileSize)
        }
        for size: UInt32 in [0, 1, 4_095, 4_096] {
            #expect(decodedWithState(size, inline: Int(size)) == .success(0))
            #expect(decodedWithState(size, inline: Int(size) + 1) == .failure(.trailingBytes(1)))
        }
        #expect(decodedWithState(4_096, inline: 0) == .failure(.truncated))
        for size: UInt32 in [4_097, 1 << 20, 16 << 20] {
            #expect(decodedWithState(size, inline: 0) == .success(Int(size)))
            #expect(decodedWithState(size, inline: 1) == .failure(.trailingBytes(1)))
        }
        for size: UInt32 in [16 << 20 + 1, 1 << 31, .max] {
            #expect(decodedWithState(size, inline: 0) == .failure(.stateSize(Int(size))))
        }
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

    @Test("fewer descriptors than belong to a packet are accepted only when the kernel says it dropped some")
    func descriptorCount() throws {
        let two = Packet.connections(
            first: 0, [PacketSamples.record(.ipv4(1, port: 1)), PacketSamples.record(.ipv4(2, port: 2))])
        let packets: [(Packet, Int)] =
            [(two, 2), (PacketSamples.movedWithFile[0], 3), (PacketSamples.movedWithFile[1], 5)]
            + PacketSamples.controls.map { ($0, 0) }
            + (1...4).map {
                (.offer(number: 0, PacketSamples.moved(.unix(path: ""), socketCount: $0, stateSize: 1)), $0)
            }
        for (packet, expected) in packets {
            #expect(packet.descriptorCount == expected)
            let packet = try decodedWhole(encoded(packet)).get()
            try packet.checkDescriptors(found: expected, truncated: false)
            for found in 0...expected { try packet.checkDescriptors(found: found, truncated: true) }
            for found in 0...16 where found != expected {
                for truncated in found < expected ? [false] : [false, true] {
                    #expect(throws: PacketError.descriptors(expected: expected, found: found)) {
                        try packet.checkDescriptors(found: found, truncated: truncated)
                    }
                }
            }
        }
    }

    @Test("random bytes never crash the decoder, and what decodes encodes back to the same bytes in its version")
    func randomBytes() {
        var random = SeededGenerator(seed: 0x52_49_4e_47)
        let versions = Packet.versionMin...Packet.version
        let samples =
            versions.flatMap { version in PacketSamples.all(in: version).map { encoded($0, version: version) } }
            + PacketSamples.movedWithFile.map { encoded($0) }
        let samplesOfKinds = Dictionary(grouping: samples) { $0[1] }
        let state = [UInt8](repeating: 0, count: MigratedConnection.stateSizeMax)
        var accepted = [Int](repeating: 0, count: Int(UInt8.max) + 1)
        for step in 0..<300_000 {
            var bytes: [UInt8]
            if step.isMultiple(of: 3) {
                bytes = (0..<Int.random(in: 0...64, using: &random)).map { _ in .random(in: 0...255, using: &random) }
                // Else nearly all of them would end at the version and the kind.
                if bytes.count > 1 { bytes[0] = .random(in: versions, using: &random) }
                if bytes.count > 1 && step.isMultiple(of: 2) { bytes[1] = .random(in: 1...11, using: &random) }
            } else {
                let samples = samplesOfKinds[.random(in: 1...11, using: &random)] ?? []
                bytes = samples[Int.random(in: 0..<samples.count, using: &random)]
                for _ in 0..<Int.random(in: 1...3, using: &random) {
                    let end = Int.random(in: 1...bytes.count, using: &random)
                    bytes[Int.random(in: 0..<end, using: &random)] = .random(in: 0...255, using: &random)
                }
            }
            guard case .success(var found) = decodedWhole(bytes) else { continue }
            accepted[Int(bytes[1])] += 1
            if found.stateFileSize > 0 {
                found.packet = found.packet.with(
                    state: found.stateFileSize == state.count ? state : Array(state[..<found.stateFileSize]))
            }
            if encoded(found.packet, version: found.version) != bytes {
                Issue.record("step \(step): \(found) encodes to other bytes than \(bytes)")
            }
        }
        for kind in PacketKind.allCases {
            #expect(
                accepted[Int(kind.rawValue)] > 10,
                "\(kind): the mutations leave some packets valid, or nothing was shown")
        }
    }
}
