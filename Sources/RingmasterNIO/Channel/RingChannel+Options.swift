import Glibc
import NIOCore

/// The options that every channel has. Subclasses are asked first for their own.
extension RingChannel {
    func setOption<Option: ChannelOption>(_ option: Option, value: Option.Value) -> EventLoopFuture<Void> {
        guard loop.inEventLoop else { return loop.submit { try self.setOption0(option, value) } }
        return loop.makeCompletedFuture { try setOption0(option, value) }
    }

    func getOption<Option: ChannelOption>(_ option: Option) -> EventLoopFuture<Option.Value> {
        guard loop.inEventLoop else { return loop.submit { try self.getOption0(option) } }
        return loop.makeCompletedFuture { try getOption0(option) }
    }

    var syncOptions: (any NIOSynchronousChannelOptions)? { SynchronousOptions(channel: self) }

    private struct SynchronousOptions: NIOSynchronousChannelOptions {
        let channel: RingChannel

        func setOption<Option: ChannelOption>(_ option: Option, value: Option.Value) throws {
            try channel.setOption0(option, value)
        }

        func getOption<Option: ChannelOption>(_ option: Option) throws -> Option.Value {
            try channel.getOption0(option)
        }
    }

    func setOption0<Option: ChannelOption>(_ option: Option, _ value: Option.Value) throws {
        loop.preconditionInEventLoop()
        guard lifecycle.isOpen else { throw ChannelError.ioOnClosedChannel }
        if try setOwnOption(option, value) { return }
        switch (option, value) {
        case (let option as ChannelOptions.Types.SocketOption, let value as SocketOptionValue):
            // Declared as Int; an int to the kernel.
            try setSocketOption(
                option.optionLevel.rawValue, option.optionName.rawValue, CInt(truncatingIfNeeded: value))
        case (is ChannelOptions.Types.AllocatorOption, let value as ByteBufferAllocator):
            setAllocator(value)
        case (is ChannelOptions.Types.AutoReadOption, let value as Bool):
            setAutoRead(value)
        case (is ChannelOptions.Types.MaxMessagesPerReadOption, let value as UInt):
            setMessagesPerRead(value)
        default:
            throw ChannelError.operationUnsupported
        }
    }

    func getOption0<Option: ChannelOption>(_ option: Option) throws -> Option.Value {
        loop.preconditionInEventLoop()
        guard lifecycle.isOpen else { throw ChannelError.ioOnClosedChannel }
        if let value = try getOwnOption(option) { return value }
        let value: Any
        switch option {
        case let option as ChannelOptions.Types.SocketOption:
            let int: CInt = try getSocketOption(option.optionLevel.rawValue, option.optionName.rawValue)
            value = SocketOptionValue(int)
        case is ChannelOptions.Types.AllocatorOption: value = bufferAllocator
        case is ChannelOptions.Types.AutoReadOption: value = readsAutomatically
        case is ChannelOptions.Types.MaxMessagesPerReadOption: value = messagesPerRead
        default: throw ChannelError.operationUnsupported
        }
        guard let value = value as? Option.Value else { throw ChannelError.operationUnsupported }
        return value
    }

    // MARK: The socket's

    /// setsockopt(2) with the bytes of `value`, whatever its type: int, `linger`, `timeval`, `ip_mreq`, ….
    func setSocketOption<Value>(_ level: CInt, _ name: CInt, _ value: Value) throws {
        // As SwiftNIO: what sets it for every child need not know that some are Unix-domain sockets.
        if level == CInt(IPPROTO_TCP), name == TCP_NODELAY, CoreSocket.family(of: descriptor) == AF_UNIX { return }
        let result = withUnsafeBytes(of: value) {
            setsockopt(descriptor, level, name, $0.baseAddress, socklen_t($0.count))
        }
        if result != 0 { throw IOError(errnoCode: errno, reason: "setsockopt") }
    }

    /// getsockopt(2) into a value of that type. What the kernel has not filled is zero: `tcp_info` grows from kernel to
    /// kernel.
    func getSocketOption<Value>(_ level: CInt, _ name: CInt) throws -> Value {
        let size = MemoryLayout<Value>.size
        return try withUnsafeTemporaryAllocation(byteCount: size, alignment: MemoryLayout<Value>.alignment) { bytes in
            bytes.initializeMemory(as: UInt8.self, repeating: 0)
            var length = socklen_t(size)
            guard getsockopt(descriptor, level, name, bytes.baseAddress, &length) == 0 else {
                throw IOError(errnoCode: errno, reason: "getsockopt")
            }
            return bytes.load(as: Value.self)
        }
    }
}

extension RingChannel: SocketOptionProvider {
    func unsafeSetSocketOption<Value: Sendable>(
        level: SocketOptionLevel, name: SocketOptionName, value: Value
    ) -> EventLoopFuture<Void> {
        unsafeSetSocketOption(
            level: NIOBSDSocket.OptionLevel(rawValue: CInt(level)), name: NIOBSDSocket.Option(rawValue: CInt(name)),
            value: value)
    }

    func unsafeGetSocketOption<Value: Sendable>(
        level: SocketOptionLevel, name: SocketOptionName
    ) -> EventLoopFuture<Value> {
        unsafeGetSocketOption(
            level: NIOBSDSocket.OptionLevel(rawValue: CInt(level)), name: NIOBSDSocket.Option(rawValue: CInt(name)))
    }

    func unsafeSetSocketOption<Value: Sendable>(
        level: NIOBSDSocket.OptionLevel, name: NIOBSDSocket.Option, value: Value
    ) -> EventLoopFuture<Void> {
        loop.submit {
            guard self.lifecycle.isOpen else { throw ChannelError.ioOnClosedChannel }
            try self.setSocketOption(level.rawValue, name.rawValue, value)
        }
    }

    func unsafeGetSocketOption<Value: Sendable>(
        level: NIOBSDSocket.OptionLevel, name: NIOBSDSocket.Option
    ) -> EventLoopFuture<Value> {
        loop.submit {
            guard self.lifecycle.isOpen else { throw ChannelError.ioOnClosedChannel }
            return try self.getSocketOption(level.rawValue, name.rawValue)
        }
    }
}

extension RingChannel: NIOTransportAccessibleChannelCore {
    /// Lends the socket's descriptor. It must be neither closed nor made non-blocking.
    func withUnsafeTransport<Result>(_ body: (CInt) throws -> Result) throws -> Result {
        guard lifecycle.isOpen else { throw ChannelError.ioOnClosedChannel }
        return try body(descriptor)
    }
}
