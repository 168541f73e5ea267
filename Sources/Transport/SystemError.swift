import Glibc

/// A system call that failed: which, and why (errno(3)).
public struct SystemError: Error, Hashable, Sendable {
    /// The call's name, such as `bind`.
    public var call: String
    /// A positive errno.
    public var code: Int32

    /// Records a failure; `code` may be given negative, as C functions here return it.
    public init(_ call: String, code: Int32) {
        self.call = call
        self.code = abs(code)
    }

    /// The failure that errno tells of. Read it before anything else can change errno.
    static func last(_ call: String) -> SystemError {
        SystemError(call, code: errno)
    }

    /// Returns a value that is not negative, or throws the errno it stands for.
    @discardableResult
    public static func check(_ result: Int32, _ call: @autoclosure () -> String) throws(SystemError) -> Int32 {
        if result < 0 { throw SystemError(call(), code: result) }
        return result
    }
}

extension SystemError: CustomStringConvertible {
    /// `bind: Address already in use`.
    public var description: String { "\(call): \(String(cString: strerror(code)))" }
}
