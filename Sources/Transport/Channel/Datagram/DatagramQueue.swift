import CSocket
import Glibc

/// Datagrams in order, each with where it is to go, one after the other in one block of memory.
///
/// The block grows by doubling and may move when a datagram is appended: the kernel never holds it, since datagrams
/// are sent by plain calls.
struct DatagramQueue: ~Copyable {
    /// What stands before the name and the payload, both of which begin at multiples of 8.
    private struct Entry: BitwiseCopyable {
        /// Bytes of payload.
        var length: UInt32
        /// Bytes of it that are sent: those of a split one, segment by segment.
        var sent: UInt32 = 0
        /// Bytes of the address; 0 for the connected peer.
        var nameLength: UInt16
        /// Of each datagram that the payload is to become; 0 when it is one.
        var segmentSize: UInt16
        /// 0 to 255, or -1 for the socket's.
        var trafficClass: Int16
        /// It is a send, or the last part of one.
        var endsSend: Bool
        /// Segments are sent one by one, instead of by the kernel.
        var isSplit: Bool

        static var size: Int { MemoryLayout<Entry>.stride }
        static func stride(name: Int, payload: Int) -> Int { size + aligned(name) + aligned(payload) }
        var stride: Int { Self.stride(name: Int(nameLength), payload: Int(length)) }
        var payloadOffset: Int { Self.size + Self.aligned(Int(nameLength)) }
        private static func aligned(_ count: Int) -> Int { (count + 7) & ~7 }
    }

    private var memory: UnsafeMutableRawPointer?
    private var capacity = 0
    /// Where the first entry begins, and where the next will.
    private var head = 0
    private var tail = 0
    /// Bytes of payload that are queued and not sent.
    private(set) var payloadBytes = 0
    /// Sends queued, in whole or in part; each is an entry or several.
    private(set) var count = 0

    private static let capacityMin = 4096
    /// A larger block is freed when the queue is empty.
    private static let capacityKeptMax = 64 * 1024

    deinit {
        free(memory)
    }

    var isEmpty: Bool { head == tail }

    /// Bytes of memory in use, addresses and book-keeping included.
    var bytesUsed: Int { tail - head }

    /// Bytes of memory that a datagram takes.
    static func bytesNeeded(payload: Int, name: Int) -> Int { Entry.stride(name: name, payload: payload) }

    /// Queues a copy of `bytes`.
    ///
    /// - Parameter endsSend: no other part of the same send follows.
    mutating func append(
        _ bytes: UnsafeRawBufferPointer, name: UnsafeRawBufferPointer = .init(start: nil, count: 0),
        segmentSize: UInt16 = 0, trafficClass: Int16 = -1, isSplit: Bool = false, endsSend: Bool = true
    ) {
        assert(!isSplit || segmentSize > 0, "what is split has segments")
        let entry = Entry(
            length: UInt32(bytes.count), nameLength: UInt16(name.count), segmentSize: segmentSize,
            trafficClass: trafficClass, endsSend: endsSend, isSplit: isSplit)
        let place = reserve(entry.stride) + tail
        place.storeBytes(of: entry, as: Entry.self)
        if let start = name.baseAddress { memcpy(place + Entry.size, start, name.count) }
        if let start = bytes.baseAddress { memcpy(place + entry.payloadOffset, start, bytes.count) }
        tail += entry.stride
        payloadBytes += bytes.count
        if endsSend { count += 1 }
    }

    /// Makes room behind the last entry and returns the block.
    private mutating func reserve(_ number: Int) -> UnsafeMutableRawPointer {
        if let memory, tail + number <= capacity { return memory }
        let used = bytesUsed
        if let memory, used + number <= capacity, head >= used {
            // Worth moving only when as much has been sent as is moved: each byte moves once on average.
            memcpy(memory, memory + head, used)
        } else {
            capacity = max(Self.capacityMin, capacity * 2, used + number)
            guard let larger = malloc(capacity) else { preconditionFailure("out of memory") }
            if let memory { memcpy(larger, memory + head, used) }
            free(memory)
            memory = larger
        }
        head = 0
        tail = used
        return memory!
    }

    private func entry(at offset: Int) -> Entry {
        assert(offset >= head && offset + Entry.size <= tail, "no entry there")
        return (memory! + offset).load(as: Entry.self)
    }

    /// Describes the first datagrams in `batch`, a segment counting as one where it is sent by itself. Valid until the
    /// queue changes.
    func gather(into batch: UnsafeMutableBufferPointer<csocket_datagram>) -> Int {
        var number = 0
        var offset = head
        while offset < tail, number < batch.count {
            let entry = entry(at: offset)
            var sent = Int(entry.sent)
            repeat {
                let left = Int(entry.length) - sent
                let length = entry.isSplit ? min(left, Int(entry.segmentSize)) : left
                batch[number] = csocket_datagram(
                    name: entry.nameLength == 0 ? nil : UnsafeRawPointer(memory! + offset + Entry.size),
                    bytes: memory! + offset + entry.payloadOffset + sent, length: length,
                    name_length: UInt32(entry.nameLength), segment_size: entry.isSplit ? 0 : entry.segmentSize,
                    traffic_class: entry.trafficClass)
                sent += length
                number += 1
            } while sent < Int(entry.length) && number < batch.count
            offset += entry.stride
        }
        return number
    }

    /// The first `number` datagrams, as ``gather(into:)`` counts them, are sent. Returns how many datagrams that makes
    /// for the peers, of how many bytes, and how many sends are over.
    mutating func sent(_ number: Int) -> (datagrams: Int, bytes: Int, sends: Int) {
        let (before, sendsBefore) = (payloadBytes, count)
        var datagrams = 0
        for _ in 0..<number {
            var entry = entry(at: head)
            let left = Int(entry.length - entry.sent)
            guard entry.isSplit, left > Int(entry.segmentSize) else {
                datagrams += entry.segmentSize == 0 || entry.isSplit ? 1 : segments(left, Int(entry.segmentSize))
                removeFirst()
                continue
            }
            datagrams += 1
            payloadBytes -= Int(entry.segmentSize)
            entry.sent += UInt32(entry.segmentSize)
            (memory! + head).storeBytes(of: entry, as: Entry.self)
        }
        return (datagrams, before - payloadBytes, sendsBefore - count)
    }

    private func segments(_ length: Int, _ size: Int) -> Int { max(1, (length + size - 1) / size) }

    /// Drops the first entry, or what is left of it.
    mutating func removeFirst() {
        let entry = entry(at: head)
        payloadBytes -= Int(entry.length - entry.sent)
        head += entry.stride
        if entry.endsSend { count -= 1 }
        if head == tail { emptied() }
    }

    /// Drops what is left of the first send.
    mutating func removeFirstSend() {
        let before = count
        while count == before { removeFirst() }
    }

    /// Has the first entry's segments sent one by one, since the kernel would not split it. False when there is
    /// nothing to split.
    mutating func splitFirst() -> Bool {
        var entry = entry(at: head)
        guard entry.segmentSize > 0, !entry.isSplit else { return false }
        entry.isSplit = true
        (memory! + head).storeBytes(of: entry, as: Entry.self)
        return true
    }

    /// Whether the first entry has an address of its own.
    var firstHasName: Bool { !isEmpty && entry(at: head).nameLength > 0 }

    /// The first entry's payload, valid until the queue changes.
    var first: UnsafeRawBufferPointer {
        let entry = entry(at: head)
        return UnsafeRawBufferPointer(start: memory! + head + entry.payloadOffset, count: Int(entry.length))
    }

    mutating func removeAll() {
        payloadBytes = 0
        count = 0
        emptied()
    }

    private mutating func emptied() {
        assert(payloadBytes == 0 && count == 0, "what is empty holds nothing")
        head = 0
        tail = 0
        guard capacity > Self.capacityKeptMax else { return }
        free(memory)
        memory = nil
        capacity = 0
    }
}
