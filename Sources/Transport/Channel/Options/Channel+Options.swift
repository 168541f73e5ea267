import Glibc

extension Channel {
    /// Sets a socket option. Loop thread only.
    ///
    /// - Throws: what setsockopt(2) says: ENOPROTOOPT or EOPNOTSUPP for an option that this socket has not, EPERM, EINVAL; EINVAL
    ///   also for a value that the kernel's type cannot hold; EBADF when the channel is closing.
    public func set<Value>(_ option: SocketOption<Value>, _ value: Value) throws(SystemError) {
        if isClosing { throw SystemError("setsockopt(\(option.name))", code: EBADF) }
        try Socket.set(option, value, of: fd)
    }

    /// Reads a socket option. The kernel may have changed what was set: rounded, doubled or limited it. Loop thread only.
    ///
    /// - Throws: as ``set(_:_:)``, from getsockopt(2).
    public func get<Value>(_ option: SocketOption<Value>) throws(SystemError) -> Value {
        if isClosing { throw SystemError("getsockopt(\(option.name))", code: EBADF) }
        return try Socket.get(option, of: fd)
    }
}

extension Socket {
    /// Sets an option of a socket that has no channel yet, such as one just accepted. Errors as ``Channel/set(_:_:)``.
    public static func set<Value>(_ option: SocketOption<Value>, _ value: Value, of fd: Int32) throws(SystemError) {
        try SocketOptionSetting(option, value).apply(to: fd)
    }

    /// Reads an option of a socket that has no channel. Errors as ``Channel/get(_:)``.
    public static func get<Value>(_ option: SocketOption<Value>, of fd: Int32) throws(SystemError) -> Value {
        try option.read(from: fd)
    }

    /// Sets the options in order, and stops at the first that fails.
    static func apply(_ settings: [SocketOptionSetting], to fd: Int32) throws(SystemError) {
        for setting in settings { try setting.apply(to: fd) }
    }
}
