import Glibc

/// The state of a TCP connection (TCP_INFO, tcp(7); RFC 9293, 3.3.2).
public enum TCPState: UInt8, Sendable {
    /// Connected.
    case established = 1
    /// Connecting: SYN sent.
    case synSent = 2
    /// Being accepted: SYN received.
    case synReceived = 3
    /// FIN sent, not acknowledged.
    case finWait1 = 4
    /// FIN sent and acknowledged; the peer may go on sending.
    case finWait2 = 5
    /// Over, kept for late segments.
    case timeWait = 6
    /// Not connected.
    case closed = 7
    /// The peer has sent FIN.
    case closeWait = 8
    /// Both have sent FIN, the peer first; ours is not acknowledged.
    case lastAcknowledgement = 9
    /// A listener.
    case listening = 10
    /// Both have sent FIN at once.
    case closing = 11
    /// Being accepted, the request not yet a socket.
    case newSynReceived = 12
}

/// What the kernel knows of a TCP connection (TCP_INFO, tcp(7)). Segments are counted whole; times are as exact as the
/// kernel keeps them: microseconds, and milliseconds for those since an event.
public struct TCPInfo: Hashable, Sendable {
    /// The state; nil for one that is not known here.
    public let state: TCPState?
    /// Retransmission timeouts in a row, without an answer between them.
    public let retransmits: UInt8
    /// Keep-alive or zero-window probes unanswered.
    public let probes: UInt8
    /// How often the retransmission timeout has been doubled.
    public let backoff: UInt8
    /// The SYN carried data, and it was taken: TCP Fast Open, on either side (TCPI_OPT_SYN_DATA).
    public let synDataAcknowledged: Bool
    /// The time after which a segment is sent again.
    public let retransmissionTimeout: Duration
    /// The largest segment sent, in bytes.
    public let sendSegmentSizeMax: UInt32
    /// The largest segment received, in bytes.
    public let receiveSegmentSizeMax: UInt32
    /// Segments sent and not acknowledged; on a listener, connections waiting to be accepted.
    public let unacknowledged: UInt32
    /// Segments acknowledged out of order; on a listener, the length of the queue in use.
    public let selectivelyAcknowledged: UInt32
    /// Segments held for lost.
    public let lost: UInt32
    /// Segments sent again and not yet acknowledged.
    public let retransmitted: UInt32
    /// Since data was last sent.
    public let sinceLastDataSent: Duration
    /// Since data was last received.
    public let sinceLastDataReceived: Duration
    /// Since an acknowledgement was last received.
    public let sinceLastAcknowledgement: Duration
    /// The path's largest packet, in bytes.
    public let pathMTU: UInt32
    /// The smoothed round-trip time.
    public let roundTripTime: Duration
    /// Its mean deviation.
    public let roundTripTimeVariance: Duration
    /// The slow-start threshold, in segments.
    public let slowStartThreshold: UInt32
    /// The congestion window, in segments.
    public let congestionWindow: UInt32
    /// The largest segment announced to the peer, in bytes.
    public let advertisedSegmentSizeMax: UInt32
    /// Segments that may overtake one another without being held for lost.
    public let reordering: UInt32
    /// The round-trip time as the receiving side sees it.
    public let receiveRoundTripTime: Duration
    /// The receive window that the kernel tunes for, in bytes.
    public let receiveSpace: UInt32
    /// Segments sent again since the connection began.
    public let totalRetransmits: UInt32
    /// What a kernel with a longer structure tells besides.
    public let counters: Counters

    /// Totals and rates since the connection began; each is nil where the kernel's structure is too short to have it.
    public struct Counters: Hashable, Sendable {
        /// Bytes sent and acknowledged, SYN and FIN counted as one each (Linux 4.1).
        public let bytesAcknowledged: UInt64?
        /// Bytes received (Linux 4.1), SYN and FIN not counted.
        public let bytesReceived: UInt64?
        /// Segments sent (Linux 4.2).
        public let segmentsSent: UInt32?
        /// Segments received (Linux 4.2).
        public let segmentsReceived: UInt32?
        /// Bytes in the kernel that have not been sent (Linux 4.6).
        public let notSentBytes: UInt32?
        /// The shortest round trip of late (Linux 4.6).
        public let minimumRoundTripTime: Duration?
        /// Bytes per second, as last measured (Linux 4.9).
        public let deliveryRate: UInt64?
        /// Time spent with data to send (Linux 4.9).
        public let busyTime: Duration?
        /// The part of it spent waiting for the peer's receive window (Linux 4.9).
        public let receiveWindowLimitedTime: Duration?
        /// The part of it spent waiting for room in the send buffer (Linux 4.9).
        public let sendBufferLimitedTime: Duration?
        /// Bytes sent, those sent again included (Linux 4.19).
        public let bytesSent: UInt64?
        /// Bytes sent again (Linux 4.19).
        public let bytesRetransmitted: UInt64?
        /// The receive window that the peer offers, in bytes (Linux 5.4).
        public let sendWindow: UInt32?
    }
}

extension TCPInfo {
    /// Reads the kernel's `struct tcp_info`; nil when it is shorter than glibc's, which every Linux since 2.6.10 fills.
    init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= MemoryLayout<tcp_info>.size else { return nil }
        let info = bytes.loadUnaligned(as: tcp_info.self)
        state = TCPState(rawValue: info.tcpi_state)
        retransmits = info.tcpi_retransmits
        probes = info.tcpi_probes
        backoff = info.tcpi_backoff
        synDataAcknowledged = info.tcpi_options & UInt8(TCPI_OPT_SYN_DATA) != 0
        retransmissionTimeout = .microseconds(info.tcpi_rto)
        sendSegmentSizeMax = info.tcpi_snd_mss
        receiveSegmentSizeMax = info.tcpi_rcv_mss
        unacknowledged = info.tcpi_unacked
        selectivelyAcknowledged = info.tcpi_sacked
        lost = info.tcpi_lost
        retransmitted = info.tcpi_retrans
        sinceLastDataSent = .milliseconds(info.tcpi_last_data_sent)
        sinceLastDataReceived = .milliseconds(info.tcpi_last_data_recv)
        sinceLastAcknowledgement = .milliseconds(info.tcpi_last_ack_recv)
        pathMTU = info.tcpi_pmtu
        roundTripTime = .microseconds(info.tcpi_rtt)
        roundTripTimeVariance = .microseconds(info.tcpi_rttvar)
        slowStartThreshold = info.tcpi_snd_ssthresh
        congestionWindow = info.tcpi_snd_cwnd
        advertisedSegmentSizeMax = info.tcpi_advmss
        reordering = info.tcpi_reordering
        receiveRoundTripTime = .microseconds(info.tcpi_rcv_rtt)
        receiveSpace = info.tcpi_rcv_space
        totalRetransmits = info.tcpi_total_retrans
        counters = Counters(bytes)
    }
}

extension TCPInfo.Counters {
    /// Reads what follows glibc's part; the offsets are those of `linux/tcp.h`, which only ever grows at its end.
    fileprivate init(_ bytes: UnsafeRawBufferPointer) {
        func field<Number: BitwiseCopyable>(_ offset: Int, _: Number.Type) -> Number? {
            guard offset + MemoryLayout<Number>.size <= bytes.count else { return nil }
            return bytes.loadUnaligned(fromByteOffset: offset, as: Number.self)
        }
        bytesAcknowledged = field(120, UInt64.self)
        bytesReceived = field(128, UInt64.self)
        segmentsSent = field(136, UInt32.self)
        segmentsReceived = field(140, UInt32.self)
        notSentBytes = field(144, UInt32.self)
        minimumRoundTripTime = field(148, UInt32.self).map(Duration.microseconds)
        deliveryRate = field(160, UInt64.self)
        busyTime = field(168, UInt64.self).map(Duration.microseconds)
        receiveWindowLimitedTime = field(176, UInt64.self).map(Duration.microseconds)
        sendBufferLimitedTime = field(184, UInt64.self).map(Duration.microseconds)
        bytesSent = field(200, UInt64.self)
        bytesRetransmitted = field(208, UInt64.self)
        sendWindow = field(228, UInt32.self)
    }
}

extension Socket {
    /// What the kernel knows of a TCP connection or listener.
    ///
    /// - Throws: `getsockopt(TCP_INFO)`: EOPNOTSUPP, or ENOPROTOOPT, when the socket is not TCP.
    public static func tcpInfo(of fd: Int32) throws(SystemError) -> TCPInfo {
        let option = SocketOption("TCP_INFO", .tcp(TCP_INFO), .bytes(capacity: 512))
        let bytes = try option.read(from: fd)
        guard let info = bytes.withUnsafeBytes({ TCPInfo($0) }) else {
            throw SystemError("getsockopt(TCP_INFO)", code: EINVAL)
        }
        return info
    }
}

extension Channel {
    /// What the kernel knows of this TCP connection or listener. Loop thread only.
    ///
    /// - Throws: as ``Socket/tcpInfo(of:)``; EBADF when the channel is closing.
    public func tcpInfo() throws(SystemError) -> TCPInfo {
        if isClosing { throw SystemError("getsockopt(TCP_INFO)", code: EBADF) }
        return try Socket.tcpInfo(of: fd)
    }
}
