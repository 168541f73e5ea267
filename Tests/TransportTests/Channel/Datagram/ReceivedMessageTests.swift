import CSocket
import Glibc
import Testing

@testable import Transport
@testable import TransportTesting

@Suite("Received datagrams: their layout in a buffer")
struct ReceivedMessageTests {
    private static let nameRoom = 32
    private static let controlRoom = 24

    /// A buffer as the kernel fills it.
    private func buffer(
        name: [UInt8] = [], nameLength: Int? = nil, control: [UInt8] = [], payload: [UInt8] = [],
        payloadLength: Int? = nil, flags: Int = 0
    ) -> [UInt8] {
        var bytes: [UInt8] = []
        for number in [nameLength ?? name.count, control.count, payloadLength ?? payload.count, flags] {
            withUnsafeBytes(of: UInt32(number)) { bytes += $0 }
        }
        bytes += name.prefix(Self.nameRoom) + [UInt8](repeating: 0xaa, count: max(0, Self.nameRoom - name.count))
        bytes += control + [UInt8](repeating: 0xbb, count: Self.controlRoom - control.count)
        return bytes + payload
    }

    /// A control message, padded to a multiple of 8.
    private func controlMessage(level: Int32, type: Int32, value: Int32, length: Int? = nil) -> [UInt8] {
        var bytes: [UInt8] = []
        withUnsafeBytes(of: UInt64(length ?? 20)) { bytes += $0 }
        for number in [level, type, value, 0] { withUnsafeBytes(of: number) { bytes += $0 } }
        return bytes
    }

    /// Parses `bytes` where they begin at an odd address, as a buffer may.
    private func parse<Value>(_ bytes: [UInt8], _ body: (ReceivedMessage?) -> Value) -> Value {
        ([0] + bytes).withUnsafeBytes {
            let part = UnsafeRawBufferPointer(rebasing: $0[1...])
            return body(ReceivedMessage(part, nameRoom: Self.nameRoom, controlRoom: Self.controlRoom))
        }
    }

    private func nameBytes(_ address: SocketAddress) -> [UInt8] {
        address.withSockaddr { Array(UnsafeRawBufferPointer(start: $0, count: Int($1))) }
    }

    @Test(
        "name, payload and flags are told apart",
        arguments: [
            SocketAddress.ipv4(0x0a00_0001, port: 53), .ipv6(high: 0xfe80 << 48, low: 1, port: 9, scope: 2),
            .unix(path: "/tmp/short"),
        ])
    func plain(address: SocketAddress) {
        parse(buffer(name: nameBytes(address), payload: [1, 2, 3])) { message in
            #expect(message?.sender == address)
            #expect(message.map { Array($0.payload) } == [1, 2, 3])
            #expect(message?.isTruncated == false)
            #expect(message?.header.segmentSize == nil)
        }
    }

    @Test("no name is no sender, no payload an empty datagram")
    func empty() {
        parse(buffer()) { message in
            #expect(message != nil && message?.sender == nil)
            #expect(message?.payload.count == 0)
            #expect(message?.isTruncated == false)
        }
    }

    @Test("a payload cut short is flagged, by the kernel's flag or by its length")
    func truncated() {
        parse(buffer(payload: [1], flags: Int(MSG_TRUNC))) { #expect($0?.isTruncated == true) }
        parse(buffer(payload: [1, 2], payloadLength: 100)) {
            #expect($0?.isTruncated == true)
            #expect($0?.payload.count == 2)
        }
        parse(buffer(payload: [1], flags: Int(MSG_CTRUNC))) { #expect($0?.isTruncated == false) }
    }

    @Test("a name longer than its room is cut to it")
    func longName() {
        let path = "/tmp/" + String(repeating: "x", count: 60)
        parse(buffer(name: nameBytes(.unix(path: path)), payload: [7])) { message in
            #expect(message?.name.count == Self.nameRoom)
            #expect(message?.sender == .unix(path: String(path.prefix(Self.nameRoom - 2))))
            #expect(message.map { Array($0.payload) } == [7])
        }
    }

    @Test("bytes that end before the payload are no datagram")
    func short() {
        let whole = buffer()
        for count in 0..<whole.count { parse(Array(whole.prefix(count))) { #expect($0 == nil) } }
        parse(whole) { #expect($0 != nil) }
    }

    @Test("the size of joined datagrams is found, and only there")
    func segments() {
        let payload = [UInt8](repeating: 1, count: 100)
        let udp = Int32(IPPROTO_UDP)
        let gro = Int32(CSOCKET_UDP_GRO)
        func size(_ control: [UInt8]) -> Int? {
            parse(buffer(control: control, payload: payload)) { $0?.header.segmentSize }
        }
        #expect(size(controlMessage(level: udp, type: gro, value: 40)) == 40)
        #expect(size(controlMessage(level: udp, type: gro, value: 100)) == nil, "one segment is one datagram")
        #expect(size(controlMessage(level: udp, type: gro, value: -1)) == nil)
        #expect(size(controlMessage(level: udp, type: gro, value: 0)) == nil)
        #expect(size(controlMessage(level: udp, type: gro + 1, value: 40)) == nil)
        #expect(size(controlMessage(level: udp + 1, type: gro, value: 40)) == nil)
        #expect(size(controlMessage(level: udp, type: gro, value: 40, length: 16)) == nil, "no value")
        #expect(size(controlMessage(level: udp, type: gro, value: 40, length: 25)) == nil, "longer than its room")
        #expect(size([1, 2, 3]) == nil)
    }

    @Test("another control message before it is passed over")
    func secondControlMessage() {
        let control =
            controlMessage(level: SOL_SOCKET, type: 1, value: 5)
            + controlMessage(level: Int32(IPPROTO_UDP), type: Int32(CSOCKET_UDP_GRO), value: 30)
        var bytes: [UInt8] = []
        for number in [0, control.count, 90, 0] { withUnsafeBytes(of: UInt32(number)) { bytes += $0 } }
        bytes += control + [UInt8](repeating: 1, count: 90)
        bytes.withUnsafeBytes {
            #expect(ReceivedMessage($0, nameRoom: 0, controlRoom: control.count)?.header.segmentSize == 30)
        }
    }

    /// A control message of any data.
    private func controlMessage(level: Int, type: Int32, data: [UInt8]) -> [UInt8] {
        var bytes: [UInt8] = []
        withUnsafeBytes(of: UInt64(16 + data.count)) { bytes += $0 }
        for number in [Int32(level), type] { withUnsafeBytes(of: number) { bytes += $0 } }
        return bytes + data + [UInt8](repeating: 0xcc, count: (8 - data.count % 8) % 8)
    }

    @Test("traffic class and destination are found, of either family, and not in messages that are too short")
    func control() {
        func read(_ control: [UInt8]) -> ReceivedControl { control.withUnsafeBytes { ReceivedControl($0) } }
        let tos = controlMessage(level: IPPROTO_IP, type: IP_TOS, data: [0xb9])
        let trafficClass = controlMessage(level: IPPROTO_IPV6, type: IPV6_TCLASS, data: [3, 0, 0, 0])
        #expect(read(tos).trafficClass == 0xb9)
        #expect(read(trafficClass).trafficClass == 3)
        let v4: [UInt8] = [2, 0, 0, 0, 127, 0, 0, 9, 10, 0, 0, 1]
        let v6 = [0x20, 0x01] + [UInt8](repeating: 0, count: 13) + [7, 5, 0, 0, 0]
        let v4Message = controlMessage(level: IPPROTO_IP, type: IP_PKTINFO, data: v4)
        let v6Message = controlMessage(level: IPPROTO_IPV6, type: IPV6_PKTINFO, data: v6)
        let v4Destination = DatagramDestination(address: .ipv4(0x0a00_0001, port: 0), interface: 2)
        let v6Address = SocketAddress.ipv6(high: 0x2001 << 48, low: 7, port: 0, scope: 0)
        #expect(read(v4Message).destination == v4Destination)
        #expect(read(v6Message).destination == DatagramDestination(address: v6Address, interface: 5))
        let all = read(tos + v4Message + controlMessage(level: Int32(IPPROTO_UDP), type: 104, value: 40))
        #expect(all.trafficClass == 0xb9 && all.destination == v4Destination && all.joinedSize == 40)
        #expect(read(controlMessage(level: IPPROTO_IP, type: IP_TOS, data: [])).trafficClass == nil)
        #expect(read(controlMessage(level: IPPROTO_IPV6, type: IPV6_TCLASS, data: [3])).trafficClass == nil)
        #expect(
            read(controlMessage(level: IPPROTO_IP, type: IP_PKTINFO, data: Array(v4.dropLast()))).destination == nil)
        #expect(
            read(controlMessage(level: IPPROTO_IPV6, type: IPV6_PKTINFO, data: Array(v6.dropLast()))).destination == nil
        )
    }

    @Test("whatever the bytes are, nothing outside them is read", arguments: 0..<20)
    func fuzz(seed: UInt64) {
        var generator = SeededGenerator(seed: seed + 1)
        for _ in 0..<2000 {
            var bytes = pattern(Int.random(in: 0...200, using: &generator), seed: generator.next())
            // Small numbers where lengths stand, half of the time: else nearly all would be absurd.
            for index in stride(from: 0, to: max(0, bytes.count - 4), by: 4) where Bool.random(using: &generator) {
                for byte in 1..<4 { bytes[index + byte] = 0 }
            }
            let nameRoom = Int.random(in: 0...64, using: &generator)
            let controlRoom = Int.random(in: 0...64, using: &generator)
            bytes.withUnsafeBytes { whole in
                guard let message = ReceivedMessage(whole, nameRoom: nameRoom, controlRoom: controlRoom) else {
                    #expect(whole.count < 16 + nameRoom + controlRoom)
                    return
                }
                for part in [message.name, message.control, message.payload] where !part.isEmpty {
                    #expect(part.baseAddress! >= whole.baseAddress! + 16)
                    #expect(part.baseAddress! + part.count <= whole.baseAddress! + whole.count)
                }
                _ = message.header
                if let size = message.header.segmentSize { #expect(size > 0 && size < message.payload.count) }
            }
        }
    }
}
