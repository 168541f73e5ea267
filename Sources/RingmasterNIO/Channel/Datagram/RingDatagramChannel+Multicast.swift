import NIOCore
import Transport

extension RingDatagramChannel: MulticastChannel {
    func joinGroup(_ group: NIOCore.SocketAddress, device: NIONetworkDevice?, promise: EventLoopPromise<Void>?) {
        change(group, device, promise) { datagram, group, interface throws(SystemError) in
            try datagram.join(group, on: interface)
        }
    }

    func leaveGroup(_ group: NIOCore.SocketAddress, device: NIONetworkDevice?, promise: EventLoopPromise<Void>?) {
        change(group, device, promise) { datagram, group, interface throws(SystemError) in
            try datagram.leave(group, on: interface)
        }
    }

    @available(*, deprecated, renamed: "joinGroup(_:device:promise:)")
    func joinGroup(_ group: NIOCore.SocketAddress, interface: NIONetworkInterface?, promise: EventLoopPromise<Void>?) {
        joinGroup(group, device: interface.map(NIONetworkDevice.init), promise: promise)
    }

    @available(*, deprecated, renamed: "leaveGroup(_:device:promise:)")
    func leaveGroup(_ group: NIOCore.SocketAddress, interface: NIONetworkInterface?, promise: EventLoopPromise<Void>?) {
        leaveGroup(group, device: interface.map(NIONetworkDevice.init), promise: promise)
    }

    private typealias Change = @Sendable (DatagramSocket, CoreAddress, NetworkInterface) throws(SystemError) -> Void

    private func change(
        _ group: NIOCore.SocketAddress, _ device: NIONetworkDevice?, _ promise: EventLoopPromise<Void>?,
        _ change: @escaping Change
    ) {
        let perform: @Sendable () -> Void = {
            do {
                try self.change(group, device, change)
                promise?.succeed(())
            } catch {
                promise?.fail(error)
            }
        }
        loop.inEventLoop ? perform() : loop.execute(perform)
    }

    private func change(_ group: NIOCore.SocketAddress, _ device: NIONetworkDevice?, _ change: Change) throws {
        guard lifecycle.isActive, let datagram else { throw ChannelError.inappropriateOperationForState }
        if let device, !device.multicastSupported { throw NIOMulticastNotSupportedError(device: device) }
        let address = CoreAddress(group)
        guard address.family == family else { throw ChannelError.badMulticastGroupAddressFamily }
        guard group.isMulticast else { throw ChannelError.illegalMulticastAddress(group) }
        if let own = device?.address, CoreAddress(own).family != family {
            throw ChannelError.badInterfaceAddressFamily
        }
        do throws(SystemError) {
            try change(datagram, address, device.map { .index(UInt32($0.interfaceIndex)) } ?? .routed)
        } catch {
            throw IOError(error)
        }
    }
}
