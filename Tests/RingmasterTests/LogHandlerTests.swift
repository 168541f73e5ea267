import Foundation
import Logging
import Testing

@testable import Ringmaster

/// 2026-11-21T03:25:10.123Z
private let moment = timespec(tv_sec: 1_795_231_510, tv_nsec: 123_999_999)

/// What `body` logs to a logger that writes into a pipe, as the bytes that come out of it.
private func logged(
    _ format: LogFormat, level: Logger.Level = .trace, at time: timespec = moment,
    _ body: (inout Logger) -> Void
) throws -> [UInt8] {
    let pipe = Pipe()
    let handler = LineLogHandler(
        label: "supervisor", format: format, level: level,
        descriptor: pipe.fileHandleForWriting.fileDescriptor, clock: { time })
    var logger = Logger(label: "supervisor") { _ in handler }
    body(&logger)
    try pipe.fileHandleForWriting.close()
    return [UInt8](try pipe.fileHandleForReading.readToEnd() ?? Data())
}

private func text(at time: timespec = moment, _ body: (inout Logger) -> Void) throws -> String {
    String(decoding: try logged(.text, at: time, body), as: UTF8.self)
}

/// The line as JSONSerialization reads it, all of whose values are strings.
private func object(_ body: (inout Logger) -> Void) throws -> [String: String] {
    let bytes = try logged(.json, body)
    #expect(bytes.last == UInt8(ascii: "\n") && bytes.filter { $0 == UInt8(ascii: "\n") }.count == 1)
    return try #require(try JSONSerialization.jsonObject(with: Data(bytes)) as? [String: String])
}

private let prefix = "2026-11-21T03:25:10.123Z info supervisor: "

@Suite("log handler")
struct LogHandlerTests {
    @Test("a text line has time, level, source, message and fields in order")
    func textLine() throws {
        let line = try text { $0.info("worker ready", metadata: ["slot": "1", "pid": "\(42)"]) }
        #expect(line == prefix + "worker ready pid=42 slot=1\n")
    }

    @Test("a JSON line has the same in one object")
    func jsonLine() throws {
        let bytes = try logged(.json) { $0.info("worker ready", metadata: ["slot": "1"]) }
        #expect(
            String(decoding: bytes, as: UTF8.self) == #"{"time":"2026-11-21T03:25:10.123Z","level":"info","#
                + #""source":"supervisor","message":"worker ready","slot":"1"}"# + "\n")
    }

    @Test(
        "numbers that metadata carries are numbers in JSON; digits in a text, and what JSON has no number for, are text"
    )
    func jsonNumbers() throws {
        let metadata: Logger.Metadata = [
            "a": .stringConvertible(-1), "b": .stringConvertible(UInt64.max), "c": .stringConvertible(0.5),
            "d": .stringConvertible(Double.nan), "e": "1", "f": .stringConvertible(Duration.seconds(1)),
            "g": .stringConvertible(true), "h": .stringConvertible(1e300),
        ]
        let line = String(decoding: try logged(.json) { $0.info("m", metadata: metadata) }, as: UTF8.self)
        #expect(
            line.hasSuffix(
                #","a":-1,"b":18446744073709551615,"c":0.5,"d":"nan","e":"1","f":"1.0 seconds","g":"true","h":1e+300}"#
                    + "\n"))
        #expect(throws: Never.self) { try JSONSerialization.jsonObject(with: Data(line.utf8)) }
        #expect(
            try text { $0.info("m", metadata: metadata) }
                == prefix + #"m a=-1 b=18446744073709551615 c=0.5 d=nan e=1 f="1.0 seconds" g=true h=1e+300"# + "\n")
    }

    @Test("a number is whole or left out")
    func longNumbers() throws {
        for length in 8070...8100 {
            let text = String(repeating: "x", count: length)
            let bytes = try logged(.json) { $0.info("\(text)", metadata: ["k": .stringConvertible(1_234_567)]) }
            #expect(bytes.count <= BoundedLine.lengthMax)
            let read = try #require(try JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any])
            #expect(read["k"] == nil || read["k"] as? Int == 1_234_567)
        }
    }

    @Test("every level from the one set on is written under its name", arguments: Logger.Level.allCases)
    func levels(level: Logger.Level) throws {
        let bytes = try logged(.text, level: level) { logger in
            for each in Logger.Level.allCases { logger.log(level: each, "x") }
        }
        let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n")
        let expected = Logger.Level.allCases.filter { $0 >= level }.map(\.rawValue)
        #expect(lines.map { String($0.split(separator: " ")[1]) } == expected)
    }

    @Test(
        "times are UTC, with leap days and padded milliseconds",
        arguments: [
            (0, 0, "1970-01-01T00:00:00.000Z"), (951_782_400, 7_000_000, "2000-02-29T00:00:00.007Z"),
            (1_709_251_199, 999_999_999, "2024-02-29T23:59:59.999Z"),
            (4_102_444_800, 10_000_000, "2100-01-01T00:00:00.010Z"),
        ])
    func times(seconds: Int, nanoseconds: Int, expected: String) throws {
        let line = try text(at: timespec(tv_sec: seconds, tv_nsec: nanoseconds)) { $0.info("x") }
        #expect(line == expected + " info supervisor: x\n")
    }

    @Test("the time of a record is now where no clock is given")
    func wallClock() throws {
        let pipe = Pipe()
        let descriptor = pipe.fileHandleForWriting.fileDescriptor
        let before = Date.now.addingTimeInterval(-0.002)
        Logger(label: "a") { LineLogHandler(label: $0, format: .text, level: .info, descriptor: descriptor) }.info("x")
        try pipe.fileHandleForWriting.close()
        let line = String(decoding: try #require(try pipe.fileHandleForReading.readToEnd()), as: UTF8.self)
        let time = try Date.ISO8601FormatStyle(includingFractionalSeconds: true).parse(String(line.prefix(24)))
        #expect((before...Date.now).contains(time))
    }

    @Test(
        "a value is quoted where a reader could not tell where it ends",
        arguments: [
            ("plain", "plain"), ("[::1]:80", "[::1]:80"), ("grün", "grün"), ("", #""""#), ("a b", #""a b""#),
            ("a=b", #""a=b""#), (#"a"b"#, #""a\"b""#), (#"a\b"#, #""a\\b""#), ("a\nb", #""a\nb""#),
            ("a\tb\r", #""a\tb\r""#), ("\u{1B}[31m", #""\u{1b}[31m""#), ("a\0", #""a\u{0}""#), ("\u{85}", #""\u{85}""#),
            ("a\u{A0}b", "\"a\u{A0}b\""), ("a\u{2028}b", #""a\u{2028}b""#), ("\r\n", #""\r\n""#),
        ])
    func quoting(value: String, written: String) throws {
        #expect(try text { $0.info("m", metadata: ["k": "\(value)"]) } == prefix + "m k=\(written)\n")
        #expect(try text { $0.info("m", metadata: ["\(value)": "v"]) } == prefix + "m \(written)=v\n", "as a key")
    }

    @Test("a message cannot break its line or command a terminal")
    func messageControls() throws {
        #expect(try text { $0.info("a b\nc\u{1B}]0;x\u{7}\r\n") } == prefix + #"a b\nc\u{1b}]0;x\u{7}\r\n"# + "\n")
    }

    @Test("JSON values come back as they went in, whatever they hold")
    func jsonEscapes() throws {
        let controls = String(String.UnicodeScalarView((0..<0xA0).map { Unicode.Scalar(UInt8($0)) }))
        let nasty = #""\/ "# + controls + "grün 🎪 \u{2028}\u{FFFF}"
        let read = try object { $0.info("\(nasty)", metadata: ["k": "\(nasty)", "k\n\"": "v"]) }
        #expect(read["message"] == nasty)
        #expect(read["k"] == nasty)
        #expect(read["k\n\""] == "v")
    }

    @Test("bytes that are not UTF-8 are written as U+FFFD")
    func invalidSequences() throws {
        let repaired = String(decoding: [0x61, 0xFF, 0x62, 0xED, 0xA0], as: UTF8.self)
        let read = try object { $0.info("\(repaired)") }
        #expect(read["message"] == repaired)
        #expect(read["message"]?.contains("\u{FFFD}") == true)
    }

    @Test("a field cannot take the place of time, level, source or message")
    func reservedKeys() throws {
        let read = try object {
            $0.info("m", metadata: ["time": "1", "level": "2", "source": "3", "message": "4", "other": "5"])
        }
        #expect(
            read == [
                "time": "2026-11-21T03:25:10.123Z", "level": "info", "source": "supervisor", "message": "m",
                "time_": "1", "level_": "2", "source_": "3", "message_": "4", "other": "5",
            ])
    }

    @Test("an event's metadata goes before the provider's, and that before the logger's")
    func merging() throws {
        let pipe = Pipe()
        var handler = LineLogHandler(
            label: "supervisor", format: .text, level: .info,
            descriptor: pipe.fileHandleForWriting.fileDescriptor, clock: { moment })
        handler.metadata = ["a": "logger", "b": "logger", "c": "logger"]
        handler.metadataProvider = Logger.MetadataProvider { ["b": "provider", "c": "provider"] }
        let configured = handler
        Logger(label: "supervisor") { _ in configured }.info("m", metadata: ["c": "event"])
        try pipe.fileHandleForWriting.close()
        let bytes = try #require(try pipe.fileHandleForReading.readToEnd())
        #expect(String(decoding: bytes, as: UTF8.self) == prefix + "m a=logger b=provider c=event\n")
    }

    @Test("a copy of a logger has metadata and a level of its own")
    func valueSemantics() throws {
        let lines = try text { logger in
            var copy = logger
            copy[metadataKey: "k"] = "v"
            copy.logLevel = .error
            logger.info("original")
            copy.info("silent")
            copy.error("copy")
        }
        #expect(
            lines == prefix + "original\n" + prefix.replacing("info", with: "error") + "copy k=v\n")
    }

    @Test("an error is a field")
    func errors() throws {
        struct Failure: Error, CustomStringConvertible { let description = "no such file" }
        #expect(try text { $0.error("m", error: Failure()) }.hasSuffix(#"m error="no such file""# + "\n"))
    }

    @Test("a line of 8 KiB is whole and a longer one is cut to 8 KiB with an ellipsis, between two characters")
    func longText() throws {
        let room = BoundedLine.lengthMax - prefix.utf8.count - "…\n".utf8.count
        let fits = String(repeating: "a", count: room)
        #expect(try text { $0.info("\(fits)") } == prefix + fits + "\n")
        #expect(try text { $0.info("\(fits)b") } == prefix + fits + "…\n")
        #expect(try text { $0.info("\(fits)", metadata: ["k": "v"]) } == prefix + fits + "…\n")
        for length in 3990...4010 {
            let line = try text {
                $0.info("\(String(repeating: "a", count: length) + String(repeating: "é", count: 3000))")
            }
            #expect(line.hasSuffix("é…\n") && !line.contains("\u{FFFD}"))
            #expect((BoundedLine.lengthMax - 1...BoundedLine.lengthMax).contains(line.utf8.count))
        }
    }

    @Test("a JSON line that is too long is cut inside a value and stays an object")
    func longJSON() throws {
        for length in 8000...8200 {
            let bytes = try logged(.json) {
                $0.info(
                    "\(String(repeating: "\u{1}", count: 10))",
                    metadata: [
                        "a": "\(String(repeating: "é\"", count: length / 3))",
                        "b": "\(String(repeating: "x", count: length % 100))", "c": "v",
                    ])
            }
            #expect(bytes.count <= BoundedLine.lengthMax && bytes.last == UInt8(ascii: "\n"))
            #expect(throws: Never.self) { try JSONSerialization.jsonObject(with: Data(bytes)) }
        }
        let read = try object { $0.info("\(String(repeating: "x", count: 9000))", metadata: ["k": "v"]) }
        #expect(read["message"]?.hasSuffix("x…") == true)
        #expect(read["k"] == nil, "what comes after the cut is left out")
    }

    @Test("each record is exactly one write")
    func oneWrite() throws {
        // A SOCK_SEQPACKET socket keeps writes apart: one receive returns what one write wrote.
        var pair: [Int32] = [0, 0]
        #expect(socketpair(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue), 0, &pair) == 0)
        defer { for end in pair { close(end) } }
        let handler = LineLogHandler(
            label: "supervisor", format: .text, level: .info, descriptor: pair[0], clock: { moment })
        let logger = Logger(label: "supervisor") { _ in handler }
        for number in 0..<20 { logger.info("line \(number)", metadata: ["k": "a b"]) }
        var buffer = [UInt8](repeating: 0, count: BoundedLine.lengthMax)
        for number in 0..<20 {
            let count = recv(pair[1], &buffer, buffer.count, Int32(MSG_DONTWAIT))
            #expect(
                count > 0
                    && String(decoding: buffer.prefix(max(0, count)), as: UTF8.self) == prefix
                        + "line \(number) k=\"a b\"\n"
            )
        }
    }
}
