import Testing
import Transport

@testable import Services

/// Feeds the pieces in turn; the count of the header's bytes is over all of them.
private func decode(_ pieces: [some Collection<UInt8>]) -> ProxyHeaderDecoder.Outcome {
    var decoder = ProxyHeaderDecoder()
    var before = 0
    for piece in pieces {
        switch Array(piece).withUnsafeBytes({ decoder.feed($0) }) {
        case .needMore: before += piece.count
        case .header(let header, let consumed): return .header(header, consumed: before + consumed)
        case .malformed(let error): return .malformed(error)
        }
    }
    return .needMore
}

private func decode(_ text: String) -> ProxyHeaderDecoder.Outcome { decode([Array(text.utf8)]) }

private func block(_ command: UInt8, _ family: UInt8, _ rest: [UInt8], length: Int? = nil) -> [UInt8] {
    let length = length ?? rest.count
    return ProxyWire.signature + [command, family, UInt8(length >> 8), UInt8(length & 0xFF)] + rest
}

private let source = SocketAddress.ipv4(0x0102_0304, port: 1)
private let destination = SocketAddress.ipv4(0x0506_0708, port: 65535)
private let proxied = ProxyHeader.proxied(source: source, destination: destination)
private let addresses: [UInt8] = [1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 0xFF, 0xFF]

/// Headers with what they mean: every command, family and version that the decoder accepts.
private let samples: [(bytes: [UInt8], header: ProxyHeader)] = {
    let v6 = SocketAddress.ipv6(high: 0x2001_0DB8_0000_0000, low: 1, port: 80, scope: 0)
    let unix = ProxyHeader.proxied(source: .unix(path: "/a"), destination: .unix(path: "@b"))
    let unnamed = ProxyHeader.proxied(source: .unix(path: ""), destination: .unix(path: "/b"))
    let headers = [proxied, .proxied(source: v6, destination: v6), .unknown, .local, unix, unnamed]
    var samples = headers.map { ($0.encoded(.v2), $0) }
    samples += headers.prefix(3).map { ($0.encoded(.v1), $0) }
    samples.append((Array("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".utf8), .unknown))
    samples.append(
        (
            Array("PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n".utf8),
            .proxied(
                source: .ipv4(0, port: 0), destination: .ipv4(.max, port: .max))
        ))
    samples.append((block(0x21, 0x11, addresses + [UInt8](repeating: 9, count: 300)), proxied))
    samples.append((block(0x20, 0x11, addresses), .local))
    samples.append((block(0x20, 0xFF, [1, 2, 3]), .local))
    samples.append((block(0x21, 0x00, [1, 2, 3]), .unknown))
    samples.append((block(0x21, 0x12, addresses), .unknown))
    samples.append((block(0x21, 0x10, addresses), .unknown))
    return samples
}()

@Suite("PROXY protocol decoder")
struct ProxyHeaderDecoderTests {
    @Test("every sample is understood, split at every position, and leaves the payload alone")
    func everySplit() {
        for (bytes, header) in samples {
            let stream = bytes + Array("PROXY payload\r\n".utf8)
            for split in 0...stream.count {
                let outcome = decode([stream[..<split], stream[split...]])
                #expect(outcome == .header(header, consumed: bytes.count), "\(bytes) split at \(split)")
            }
            #expect(decode(stream.map { [$0] }) == .header(header, consumed: bytes.count), "byte by byte")
        }
    }

    @Test("every proper prefix of a sample asks for more")
    func everyPrefix() {
        for (bytes, _) in samples {
            for length in 0..<bytes.count {
                #expect(decode([bytes[..<length]]) == .needMore, "\(length) bytes of \(bytes)")
            }
        }
    }

    @Test("what the encoder writes is read back by the decoder")
    func roundTrip() {
        var random = SplitMix64(seed: 1)
        for _ in 0..<1000 {
            let header: ProxyHeader =
                Bool.random(using: &random)
                ? .proxied(
                    source: .ipv4(random.value(), port: random.value()),
                    destination: .ipv4(random.value(), port: random.value()))
                : .proxied(
                    source: .ipv6(high: random.value(), low: random.value(), port: random.value(), scope: 0),
                    destination: .ipv6(high: random.value(), low: random.value(), port: random.value(), scope: 0))
            for version in ProxyVersion.allCases {
                let bytes = header.encoded(version)
                #expect(decode([bytes]) == .header(header, consumed: bytes.count))
            }
        }
    }

    @Test(
        "a malformed line is refused with its reason",
        arguments: [
            ("GET / HTTP/1.1\r\n", ProxyHeaderError.notAHeader),
            ("PROXX ", .notAHeader), ("proxy TCP4 ", .notAHeader), ("PROXY\r\n", .notAHeader), ("\n", .notAHeader),
            ("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n", .lineEnd), ("PROXY \n", .lineEnd),
            ("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\rX", .lineEnd), ("PROXY UNKNOWN\r\r\n", .lineEnd),
            ("PROXY \r\n", .lineFamily), ("PROXY  TCP4 1.2.3.4 5.6.7.8 1 2\r\n", .lineFamily),
            ("PROXY TCP5 1.2.3.4 5.6.7.8 1 2\r\n", .lineFamily), ("PROXY tcp4 1.2.3.4 5.6.7.8 1 2\r\n", .lineFamily),
            ("PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n", .lineFamily), ("PROXY UNKNOWNX\r\n", .lineFamily),
            ("PROXY TCP4\r\n", .lineFields), ("PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n", .lineFields),
            ("PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n", .lineFields), ("PROXY TCP4 1.2.3.4 5.6.7.8 1 2 \r\n", .lineFields),
            ("PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n", .lineFields),
            ("PROXY TCP4 1.2.3.4  1 2\r\n", .lineAddress), ("PROXY TCP4 1.2.3 5.6.7.8 1 2\r\n", .lineAddress),
            ("PROXY TCP4 1.2.3.256 5.6.7.8 1 2\r\n", .lineAddress),
            ("PROXY TCP4 01.2.3.4 5.6.7.8 1 2\r\n", .lineAddress),
            ("PROXY TCP4 ::1 ::1 1 2\r\n", .lineAddress), ("PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n", .lineAddress),
            ("PROXY TCP6 fe80::1%lo ::1 1 2\r\n", .lineAddress), ("PROXY TCP6 [::1] ::1 1 2\r\n", .lineAddress),
            ("PROXY TCP6 ::1\0 ::1 1 2\r\n", .lineAddress), ("PROXY TCP4 localhost 5.6.7.8 1 2\r\n", .lineAddress),
            ("PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n", .linePort), ("PROXY TCP4 1.2.3.4 5.6.7.8 -1 2\r\n", .linePort),
            ("PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n", .linePort), ("PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n", .linePort),
            ("PROXY TCP4 1.2.3.4 5.6.7.8 1 \r\n", .linePort), ("PROXY TCP4 1.2.3.4 5.6.7.8 0x1 2\r\n", .linePort),
        ])
    func malformedLine(text: String, error: ProxyHeaderError) {
        #expect(decode(text) == .malformed(error))
        #expect(decode(text.utf8.map { [$0] }) == .malformed(error), "byte by byte")
    }

    @Test("a line of 107 bytes is accepted and one of 108 refused, at its 107th byte")
    func lineLength() {
        let filler = String(repeating: "x", count: 107 - "PROXY UNKNOWN \r\n".utf8.count)
        #expect(decode("PROXY UNKNOWN \(filler)\r\n") == .header(.unknown, consumed: 107))
        #expect(decode("PROXY UNKNOWN \(filler)x\r\n") == .malformed(.lineTooLong))
        #expect(decode("PROXY UNKNOWN \(filler)xx") == .malformed(.lineTooLong))
        #expect(decode("PROXY UNKNOWN \(filler)x") == .needMore)
    }

    @Test("a malformed block is refused with its reason, as soon as its fixed part is in")
    func malformedBlock() {
        let cases: [([UInt8], ProxyHeaderError)] = [
            (block(0x11, 0x11, addresses), .versionOrCommand(0x11)),
            (block(0x31, 0x11, addresses), .versionOrCommand(0x31)),
            (block(0x22, 0x11, addresses), .versionOrCommand(0x22)),
            (block(0x21, 0x41, addresses), .familyOrTransport(0x41)),
            (block(0x21, 0x13, addresses), .familyOrTransport(0x13)),
            (block(0x21, 0x11, [], length: 11), .blockTooShort(11)),
            (block(0x21, 0x21, [], length: 35), .blockTooShort(35)),
            (block(0x21, 0x31, [], length: 215), .blockTooShort(215)),
            (block(0x21, 0x11, [], length: 4097), .blockTooLong(4097)),
            (block(0x20, 0x00, [], length: 65535), .blockTooLong(65535)),
        ]
        for (bytes, error) in cases {
            #expect(decode([bytes[..<16]]) == .malformed(error))
            #expect(decode([bytes[..<15], bytes[15...]]) == .malformed(error))
        }
    }

    @Test("a signature with any byte changed is refused at that byte")
    func damagedSignature() {
        for index in 1..<12 {
            var bytes = block(0x21, 0x11, addresses)
            bytes[index] ^= 0x80
            #expect(decode([bytes[...index]]) == .malformed(.notAHeader), "byte \(index)")
            #expect(decode([bytes[..<index]]) == .needMore, "before byte \(index)")
        }
    }

    @Test("a block of exactly the greatest length is accepted, and no more than 232 bytes of it are held")
    func longestBlock() {
        let extensions = [UInt8](repeating: 4, count: ProxyHeaderDecoder.extensionLengthMax - addresses.count)
        let bytes = block(0x21, 0x11, addresses + extensions)
        #expect(decode([bytes]) == .header(proxied, consumed: 16 + 4096))
        var decoder = ProxyHeaderDecoder()
        #expect(bytes.dropLast().withUnsafeBytes { decoder.feed($0) } == .needMore)
        #expect(decoder.bytesHeld == 232)
    }

    @Test("a Unix-domain path must end within its field, be UTF-8 and fit into a socket address")
    func unixPaths() {
        func unix(_ path: [UInt8]) -> ProxyHeaderDecoder.Outcome {
            let field = path + [UInt8](repeating: 0, count: 108 - path.count)
            return decode([block(0x21, 0x31, field + field)])
        }
        let longest = [UInt8](repeating: UInt8(ascii: "a"), count: 107)
        let path = SocketAddress.unix(path: String(decoding: longest, as: UTF8.self))
        #expect(unix(longest) == .header(.proxied(source: path, destination: path), consumed: 232))
        #expect(unix(longest + [UInt8(ascii: "a")]) == .malformed(.unixPath))
        #expect(unix([0] + longest) == .malformed(.unixPath), "an abstract name of 107 bytes does not fit with its '@'")
        #expect(unix([UInt8(ascii: "/"), 0xFF]) == .malformed(.unixPath))
        let cut = SocketAddress.unix(path: "/a")
        #expect(unix(Array("/a\0b".utf8)) == .header(.proxied(source: cut, destination: cut), consumed: 232))
    }

    @Test("random and damaged streams give the same outcome however they are cut, and never crash")
    func fuzz() {
        var random = SplitMix64(seed: 20_261_121)
        var headers = 0
        for _ in 0..<20_000 {
            var stream = samples[Int.random(in: 0..<samples.count, using: &random)].bytes
            stream += (0..<Int.random(in: 0..<20, using: &random)).map { _ in random.value() }
            for _ in 0..<Int.random(in: 0..<4, using: &random) {
                stream[Int.random(in: 0..<stream.count, using: &random)] = random.value()
            }
            let whole = decode([stream])
            let split = Int.random(in: 0...stream.count, using: &random)
            #expect(decode([stream[..<split], stream[split...]]) == whole, "\(stream) split at \(split)")
            guard case .header(let header, let consumed) = whole else { continue }
            headers += 1
            #expect((1...stream.count).contains(consumed))
            let again = header.encoded(.v2)
            #expect(decode([again]) == .header(header, consumed: again.count), "\(header)")
        }
        #expect(headers > 1000, "the damage leaves many headers whole; otherwise the test says nothing")
    }

    @Test("wholly random streams are refused or ask for more")
    func noise() {
        var random = SplitMix64(seed: 7)
        for _ in 0..<20_000 {
            let stream: [UInt8] = (0..<64).map { _ in random.value() }
            if case .header = decode([stream]) { Issue.record("64 random bytes were taken for a header: \(stream)") }
        }
    }
}
