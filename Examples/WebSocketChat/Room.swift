import NIOCore
import NIOWebSocket

/// Who is connected to one worker.
///
/// Unchecked: a worker has one loop, and all of this happens on its thread.
final class Room: @unchecked Sendable {
    private var members: [ObjectIdentifier: Member] = [:]

    func add(_ member: Member) { members[ObjectIdentifier(member)] = member }
    func remove(_ member: Member) { members[ObjectIdentifier(member)] = nil }

    func say(_ message: ByteBuffer, _ opcode: WebSocketOpcode, except speaker: Member) {
        for member in members.values where member !== speaker { member.hear(message, opcode) }
    }
}

/// One client.
final class Member: ChannelInboundHandler {
    typealias InboundIn = WebSocketFrame
    typealias OutboundOut = WebSocketFrame

    private enum State {
        case talking
        /// A close frame has been sent.
        case closing
    }

    private let room: Room
    private var context: ChannelHandlerContext?
    private var state = State.talking

    /// How long a client may take to answer a close frame.
    private static let closePatience: TimeAmount = .seconds(5)

    init(of room: Room) {
        self.room = room
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        room.add(self)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        room.remove(self)
        self.context = nil
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let frame = Self.unwrapInboundIn(data)
        switch frame.opcode {
        case .text, .binary: room.say(frame.unmaskedData, frame.opcode, except: self)
        case .ping: send(.pong, frame.unmaskedData, context)
        case .connectionClose:
            if state == .talking { send(.connectionClose, frame.unmaskedData, context) }
            context.close(promise: nil)
        default: break
        }
    }

    /// Who does not read is left behind rather than waited for.
    func hear(_ message: ByteBuffer, _ opcode: WebSocketOpcode) {
        guard let context, state == .talking, context.channel.isWritable else { return }
        send(opcode, message, context)
    }

    private func send(_ opcode: WebSocketOpcode, _ data: ByteBuffer, _ context: ChannelHandlerContext) {
        let frame = WebSocketFrame(fin: true, opcode: opcode, data: data)
        context.writeAndFlush(Self.wrapOutboundOut(frame), promise: nil)
    }

    /// The worker leaves: clients are told, and may connect to its successor.
    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is ChannelShouldQuiesceEvent { leave(.goingAway, context) }
        context.fireUserInboundEventTriggered(event)
    }

    /// What came is no message, or one that is too long. Nothing more is understood, a close frame neither: what else
    /// there is to say is FIN.
    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch error {
        case NIOWebSocketError.invalidFrameLength, is NIOWebSocketFrameAggregator.Error:
            leave(.messageTooLarge, context)
        default: leave(.protocolError, context)
        }
        context.close(mode: .output, promise: nil)
    }

    private func leave(_ code: WebSocketErrorCode, _ context: ChannelHandlerContext) {
        guard state == .talking else { return }
        state = .closing
        var data = ByteBuffer()
        data.write(webSocketErrorCode: code)
        send(.connectionClose, data, context)
        context.eventLoop.assumeIsolated().scheduleTask(in: Self.closePatience) { [self] in
            self.context?.close(promise: nil)
        }
    }
}
