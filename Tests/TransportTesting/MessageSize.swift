import Glibc

extension msghdr {
    /// What the vector gathers.
    var byteCount: Int {
        var total = 0
        for index in 0..<Int(msg_iovlen) { total += msg_iov[index].iov_len }
        return total
    }
}
