import Glibc
import NIOCore
import Transport

/// The options that only datagram channels have.
extension RingDatagramChannel {
    func setDatagramOption<Option: ChannelOption>(_ option: Option, _ value: Option.Value) throws -> Bool {
        switch (option, value) {
        case (
            is ChannelOptions.Types.WriteBufferWaterMarkOption, let value as ChannelOptions.Types.WriteBufferWaterMark
        ):
            writes.pointee.marks = value
        case (is ChannelOptions.Types.DatagramSegmentSize, let value as CInt):
            guard (0...CInt(UInt16.max)).contains(value) else {
                throw IOError(errnoCode: EINVAL, reason: "a segment has at most 65,535 bytes")
            }
            settings.segmentSize = value == 0 ? nil : Int(value)
        case (is ChannelOptions.Types.DatagramReceiveOffload, let value as Bool):
            try setReceiveOffload(value)
        case (is ChannelOptions.Types.DatagramReceiveSegmentSize, let value as Bool):
            settings.tellsSegmentSize = value
        case (is ChannelOptions.Types.ExplicitCongestionNotificationsOption, let value as Bool):
            try set(.tellsTrafficClass, value)
            settings.tellsCongestion = value
        case (is ChannelOptions.Types.ReceivePacketInfo, let value as Bool):
            try set(.tellsDestination, value)
            settings.tellsPacketInfo = value
        case (is ChannelOptions.Types.RecvAllocatorOption, let value as any RecvByteBufferAllocator):
            settings.receiveAllocator = value
        case (is ChannelOptions.Types.DatagramVectorReadMessageCountOption, let value as Int):
            settings.vectorReadCount = value
        case (is ChannelOptions.Types.WriteSpinOption, _):
            // Nothing here tries a write again in the same turn.
            break
        default:
            return false
        }
        return true
    }

    func getDatagramOption<Option: ChannelOption>(_ option: Option) throws -> Option.Value? {
        switch option {
        case is ChannelOptions.Types.WriteBufferWaterMarkOption: writes.pointee.marks as? Option.Value
        case is ChannelOptions.Types.BufferedWritableBytesOption: writes.pointee.bufferedBytes as? Option.Value
        case is ChannelOptions.Types.DatagramSegmentSize: CInt(settings.segmentSize ?? 0) as? Option.Value
        case is ChannelOptions.Types.DatagramReceiveOffload:
            try get(.joinsReceived) as? Option.Value
        case is ChannelOptions.Types.DatagramReceiveSegmentSize: settings.tellsSegmentSize as? Option.Value
        case is ChannelOptions.Types.ExplicitCongestionNotificationsOption:
            try get(.tellsTrafficClass) as? Option.Value
        case is ChannelOptions.Types.ReceivePacketInfo:
            try get(.tellsDestination) as? Option.Value
        case is ChannelOptions.Types.RecvAllocatorOption: settings.receiveAllocator as? Option.Value
        case is ChannelOptions.Types.DatagramVectorReadMessageCountOption: settings.vectorReadCount as? Option.Value
        case is ChannelOptions.Types.WriteSpinOption: UInt(0) as? Option.Value
        default: nil
        }
    }

    /// What the kernel joins has up to 65,535 bytes, and what a receive buffer has no room for would be lost.
    private func setReceiveOffload(_ isOn: Bool) throws {
        guard !isOn || DatagramSocket.fitsJoined(loop.core) else { throw ChannelError.operationUnsupported }
        try set(.joinsReceived, isOn)
    }

    private func set(_ option: CoreSocketOption<Bool>, _ value: Bool) throws {
        guard family != AF_UNIX else { throw ChannelError.operationUnsupported }
        do throws(SystemError) {
            try CoreSocket.set(option, value, of: descriptor)
        } catch {
            throw IOError(error)
        }
    }

    private func get(_ option: CoreSocketOption<Bool>) throws -> Bool {
        guard family != AF_UNIX else { throw ChannelError.operationUnsupported }
        do throws(SystemError) {
            return try CoreSocket.get(option, of: descriptor)
        } catch {
            throw IOError(error)
        }
    }
}
