/// Why an address that a user wrote was refused. The description says what is wrong and how to mend it.
public struct AddressSyntaxError: Error, Hashable, Sendable {
    /// The address as it was written.
    public let text: String
    /// What is wrong with it.
    public let reason: Reason

    /// What can be wrong with an address.
    public enum Reason: Hashable, Sendable {
        /// Nothing was written.
        case empty
        /// There is no `:PORT`.
        case portMissing
        /// What follows the last colon is not a number from 0 to 65535.
        case portInvalid(String)
        /// Port 0, where a port to connect to is wanted.
        case portZero
        /// Nothing stands before `:PORT`.
        case hostMissing
        /// `*` instead of a host.
        case wildcard
        /// A URL (`tcp://…`) instead of an address.
        case scheme(String)
        /// More than one colon without brackets: an IPv6 address, most likely.
        case bracketsMissing
        /// `[` without `]`, or something other than `:PORT` after `]`.
        case bracketsUnbalanced
        /// What stands in brackets is not an IPv6 address.
        case ipv6Invalid(String)
        /// Digits and dots that are not four numbers from 0 to 255.
        case ipv4Invalid(String)
        /// A host name with a character, or of a length, that no host name has.
        case hostInvalid(String)
        /// `unix:` without a path.
        case pathMissing
        /// A Unix-domain path that does not begin with `/`.
        case pathRelative
        /// A Unix-domain path of so many bytes, more than ``SocketAddress/unixPathLengthMax``.
        case pathTooLong(Int)
        /// A Unix-domain path with a zero byte in it.
        case pathHasZero
    }

    /// An error about the address `text`.
    package init(_ text: String, _ reason: Reason) {
        self.text = text
        self.reason = reason
    }
}

extension AddressSyntaxError: CustomStringConvertible {
    /// One line: the address, what is wrong with it and what to write instead.
    public var description: String { "bad address '\(text)': \(reason.remedy)" }
}

extension AddressSyntaxError.Reason {
    fileprivate var remedy: String {
        switch self {
        case .empty: "it is empty; write HOST:PORT, [IPV6]:PORT or unix:/path"
        case .portMissing: "the port is missing; write HOST:PORT, such as 127.0.0.1:6379"
        case .portInvalid(let port): "'\(port)' is not a port; write a number from 1 to 65535"
        case .portZero: "port 0 cannot be connected to; write a number from 1 to 65535"
        case .hostMissing: "the host is missing; write HOST:PORT (0.0.0.0:PORT or [::]:PORT to listen on every address)"
        case .wildcard: "'*' is not a host; write 0.0.0.0:PORT for every IPv4 address, [::]:PORT for every IPv6 one"
        case .scheme(let scheme): "an address has no scheme; leave out '\(scheme)://'"
        case .bracketsMissing: "there is more than one colon; write an IPv6 address in brackets, such as [::1]:6379"
        case .bracketsUnbalanced: "the brackets do not match; write [IPV6]:PORT, such as [::1]:6379"
        case .ipv6Invalid(let host): "'\(host)' is not an IPv6 address; only such an address stands in brackets"
        case .ipv4Invalid(let host): "'\(host)' is not an IPv4 address; write four numbers from 0 to 255"
        case .hostInvalid(let host):
            "'\(host)' is not a host name; write up to 253 letters, digits, '-', '_' and '.' (xn--… for other scripts)"
        case .pathMissing: "the path is missing; write unix:/path, such as unix:/run/redis.sock"
        case .pathRelative: "the path is relative; write it from the root, such as unix:/run/redis.sock"
        case .pathTooLong(let length):
            "the path has \(length) bytes and the kernel takes \(SocketAddress.unixPathLengthMax); write a shorter one"
        case .pathHasZero: "the path has a zero byte in it; leave it out"
        }
    }
}
