import CSocket
import Glibc
import Testing

@testable import Transport

/// The handlers that raw operations are tried on: what is expected of one is expected of all.
enum HandlerKind: CaseIterable, Sendable {
    case uring
    case epoll
    /// As if there were no epoll_pwait2(2).
    case epollWithTimer

    /// Those that work here.
    static let available = allCases.filter { $0 != .uring || TransportMode.uring.obstacle == nil }
}

/// A completion as a test states it.
struct Told: Equatable, CustomStringConvertible {
    var kind: OperationKind
    var result: Int32
    /// What the receive buffer holds; nil without a buffer.
    var bytes: String?
    var hasMore = false
    var isNotification = false

    init(
        _ kind: OperationKind, _ result: Int32, _ bytes: String? = nil, more: Bool = false, notification: Bool = false
    ) {
        self.kind = kind
        self.result = result
        self.bytes = bytes
        hasMore = more
        isNotification = notification
    }

    var description: String {
        "\(kind) \(result)\(bytes.map { " “\($0)”" } ?? "")\(hasMore ? " more" : "")\(isNotification ? " notification" : "")"
    }
}

/// A handler without a loop, on the test's thread. Ends what is in flight when it goes.
final class HandlerDriver {
    let handler: any IOHandler
    let wakeup: Wakeup
    private let batch: UnsafeMutableBufferPointer<Completion>
    private var inFlight: Set<UserData> = []
    private var told: [(Completion, Told)] = []
    /// What operations point to.
    private var memory: [UnsafeMutableRawPointer] = []

    static let one = RegistrationID(slot: 1, generation: 7)
    static let two = RegistrationID(slot: 2, generation: 0)

    /// - Parameter given: buffers that the handler gets of those that it knows of; nil: all.
    init(
        _ kind: HandlerKind, buffers: UInt32 = 32, bufferSize: UInt32 = 64,
        given: UInt16? = nil, epoll: EpollConfiguration = .init(), batch capacity: Int = 1024
    ) throws {
        batch = .allocate(capacity: capacity)
        wakeup = try Wakeup()
        var configuration = ReceiveBufferConfiguration()
        configuration.count = buffers
        configuration.size = bufferSize
        switch kind {
        case .uring:
            handler = try UringHandler(.smallest, buffers: configuration, wakeup: wakeup)
        case .epoll, .epollWithTimer:
            handler = try EpollHandler(
                epoll, buffers: configuration, wakeup: wakeup, usesTimer: kind == .epollWithTimer)
        }
        try handler.enable()
        let ids = (0..<(given ?? UInt16(buffers))).map { $0 }
        ids.withUnsafeBufferPointer { handler.giveBuffers($0, size: Int(bufferSize)) }
    }

    deinit {
        for userData in inFlight where userData.kind?.cancellation != nil {
            try? submit(.cancel(userData), userData.kind!.cancellation!, userData.registration)
        }
        let deadline = MonotonicTime.now + .seconds(5)
        while !inFlight.isEmpty, .now < deadline { _ = try? run(until: .now + .milliseconds(10)) }
        handler.destroy()
        batch.deallocate()
        for pointer in memory { pointer.deallocate() }
    }

    func submit(_ operation: Operation, _ kind: OperationKind, _ id: RegistrationID = one) throws {
        let userData = UserData(kind, id)
        inFlight.insert(userData)
        let taken = try withUnsafePointer(to: Submission(userData: userData, operation: operation)) {
            try handler.submit(UnsafeBufferPointer(start: $0, count: 1))
        }
        #expect(taken == 1)
    }

    func cancel(_ kind: OperationKind, _ id: RegistrationID = one) throws {
        try submit(.cancel(UserData(kind, id)), #require(kind.cancellation), id)
    }

    func send(_ bytes: [UInt8], to fd: Int32, _ id: RegistrationID = one) throws {
        let copy = allocate(bytes)
        try submit(.send(fd: fd, bytes: copy, count: UInt32(bytes.count)), .send, id)
    }

    /// A message header that gathers the parts.
    func message(_ parts: [[UInt8]]) -> UnsafeMutablePointer<msghdr> {
        let vector = allocate(parts.map { iovec(iov_base: allocate($0), iov_len: $0.count) })
        return allocate([
            msghdr(
                msg_name: nil, msg_namelen: 0, msg_iov: vector, msg_iovlen: parts.count, msg_control: nil,
                msg_controllen: 0, msg_flags: 0)
        ])
    }

    /// Memory that lives as long as the driver.
    func allocate<Element: BitwiseCopyable>(_ elements: [Element]) -> UnsafeMutablePointer<Element> {
        let pointer = UnsafeMutablePointer<Element>.allocate(capacity: max(1, elements.count))
        pointer.initialize(from: elements, count: elements.count)
        memory.append(pointer)
        return pointer
    }

    func connect(_ fd: Int32, to address: SocketAddress, _ id: RegistrationID = one) throws {
        let storage = allocate([sockaddr_storage()])
        let length = address.write(to: &storage.pointee)
        let target = UnsafeRawPointer(storage).assumingMemoryBound(to: sockaddr.self)
        try submit(.connect(fd: fd, address: target, length: length), .connect, id)
    }

    /// One run; returns how many completions it brought.
    @discardableResult
    func run(until deadline: MonotonicTime?) throws -> Int {
        let count = try handler.run(until: deadline, into: batch)
        for completion in batch[..<count] {
            if completion.userData.registration == .handler {
                handler.handle(completion)
                continue
            }
            if !completion.hasMore { inFlight.remove(completion.userData) }
            var bytes: String?
            if let buffer = completion.buffer {
                bytes = String(decoding: content(of: buffer, count: Int(completion.result)), as: UTF8.self)
            }
            told.append(
                (
                    completion,
                    Told(
                        completion.userData.kind!, completion.result, bytes, more: completion.hasMore,
                        notification: completion.isNotification)
                ))
        }
        return count
    }

    /// Runs until there are `count` completions and takes them, within 10 s.
    func wait(for count: Int) throws -> [Told] { try completions(count).map(\.1) }

    /// As ``wait(for:)``, with what the handler said.
    func completions(_ count: Int) throws -> [(Completion, Told)] {
        let deadline = MonotonicTime.now + .seconds(10)
        while told.count < count {
            try run(until: deadline)
            if .now >= deadline { throw TimedOut(description: "\(count) completions expected, not \(told.map(\.1))") }
        }
        defer { told.removeFirst(count) }
        return Array(told.prefix(count))
    }

    /// What has completed without waiting for it: nothing more is on its way when three runs have brought nothing.
    func settled() throws -> [Told] {
        var quiet = 0
        for _ in 0..<10_000 where quiet < 3 { quiet = try run(until: nil) == 0 ? quiet + 1 : 0 }
        defer { told.removeAll() }
        return told.map(\.1)
    }

    /// The first bytes of a buffer.
    func content(of buffer: UInt16, count: Int) -> UnsafeRawBufferPointer {
        let memory = handler.receiveBuffers
        return UnsafeRawBufferPointer(start: memory.base + Int(buffer) * memory.size, count: count)
    }

    func returnBuffer(_ id: UInt16) {
        let size = handler.receiveBuffers.size
        withUnsafePointer(to: id) { handler.giveBuffers(UnsafeBufferPointer(start: $0, count: 1), size: size) }
    }
}

/// A connected pair of TCP sockets, closed at the end.
final class TCPPair {
    let left: Peer
    let right: Peer

    /// - Parameter bufferSize: of what the kernel holds on the way from left to right, in bytes; nil: as it likes.
    init(bufferSize: Int32? = nil) throws {
        let listener = try Socket.listen(.anyLoopback, backlog: 1)
        defer { close(listener) }
        right = try Peer(connectingTo: #require(Socket.localAddress(of: listener)), receiveBuffer: bufferSize)
        left = Peer(fd: try SystemError.check(csocket_accept(listener), "accept4"))
        if let bufferSize { _ = Socket.set(left.fd, SOL_SOCKET, SO_SNDBUF, bufferSize) }
        Socket.setNoDelay(right.fd)
    }
}
