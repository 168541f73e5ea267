import NIOCore
import Transport

/// What the options of a datagram channel say, but for those that the kernel keeps.
struct DatagramSettings {
    /// Bytes of each datagram that a write becomes; nil when it is one.
    var segmentSize: Int?
    var tellsSegmentSize = false
    var tellsCongestion = false
    var tellsPacketInfo = false
    /// Neither has an effect: kept for whoever asks.
    var vectorReadCount = 0
    var receiveAllocator: any RecvByteBufferAllocator = FixedSizeRecvByteBufferAllocator(capacity: 2048)

    /// What a received datagram's reader is told besides its bytes; nil when that is nothing.
    func metadata(_ header: DatagramHeader) -> AddressedEnvelope<ByteBuffer>.Metadata? {
        guard tellsCongestion || tellsPacketInfo || tellsSegmentSize else { return nil }
        let segmentSize = tellsSegmentSize ? header.segmentSize : nil
        let destination = tellsPacketInfo ? header.destination : nil
        let trafficClass = tellsCongestion ? header.trafficClass : nil
        guard segmentSize != nil || destination != nil || trafficClass != nil else { return nil }
        return AddressedEnvelope.Metadata(
            ecnState: .init(codePoint: trafficClass ?? 0), packetInfo: destination.map(NIOPacketInfo.init),
            segmentSize: segmentSize)
    }
}

extension NIOPacketInfo {
    init(_ destination: DatagramDestination) {
        self.init(
            destinationAddress: NIOCore.SocketAddress(destination.address),
            interfaceIndex: Int(destination.interface))
    }
}

/// The lower two bits of a traffic class (RFC 3168).
extension NIOExplicitCongestionNotificationState {
    init(codePoint: UInt8) {
        switch codePoint & 3 {
        case 1: self = .transportCapableFlag1
        case 2: self = .transportCapableFlag0
        case 3: self = .congestionExperienced
        default: self = .transportNotCapable
        }
    }

    var codePoint: UInt8 {
        switch self {
        case .transportNotCapable: 0
        case .transportCapableFlag1: 1
        case .transportCapableFlag0: 2
        case .congestionExperienced: 3
        }
    }
}
