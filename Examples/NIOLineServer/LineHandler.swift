import Glibc
import NIOCore

/// Answers the lines of one client, on its worker's loop.
final class LineHandler: ChannelInboundHandler {
    typealias InboundIn = String
    typealias OutboundOut = ByteBuffer

    private let decoder: LineDecoder
    private var isLeaving = false

    private init(_ decoder: LineDecoder) {
        self.decoder = decoder
    }

    /// The child-channel initialiser. Who does not read his answers is not listened to: that is `BackPressureHandler`.
    @Sendable static func addHandlers(to channel: any Channel) -> EventLoopFuture<Void> {
        channel.eventLoop.makeCompletedFuture {
            let decoder = LineDecoder()
            try channel.pipeline.syncOperations.addHandlers([
                ByteToMessageHandler(decoder), BackPressureHandler(), LineHandler(decoder),
            ])
        }
    }

    /// Whether a client can go on in another worker: nothing is known of it here that is not known there.
    @Sendable static func isBetweenLines(_ channel: any Channel) -> Bool {
        guard let handler = try? channel.pipeline.syncOperations.handler(type: LineHandler.self) else { return false }
        return handler.decoder.isBetweenLines
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let words = Self.unwrapInboundIn(data).split(separator: " ")
        switch words.first {
        case "pid": say("\(getpid())", context)
        case "sum": say(sum(words.dropFirst()), context)
        case "quit": leave(context)
        default: say("say pid, sum 1 2 3 or quit", context)
        }
    }

    private func sum(_ words: some Sequence<Substring>) -> String {
        var sum = 0
        for word in words {
            guard let number = Int(word) else { return "\(word) is not a number" }
            let (result, isOverflow) = sum.addingReportingOverflow(number)
            if isOverflow { return "too much" }
            sum = result
        }
        return "\(sum)"
    }

    private func say(_ line: String, _ context: ChannelHandlerContext) {
        context.write(Self.wrapOutboundOut(ByteBuffer(string: line + "\n")), promise: nil)
    }

    /// The answers to all that came at once go out at once.
    func channelReadComplete(context: ChannelHandlerContext) {
        context.flush()
        leaveIfAsked(context)
    }

    /// The worker leaves: who has not begun a line is told now, the others when they have their answer.
    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is ChannelShouldQuiesceEvent {
            isLeaving = true
            leaveIfAsked(context)
        }
        context.fireUserInboundEventTriggered(event)
    }

    private func leaveIfAsked(_ context: ChannelHandlerContext) {
        if isLeaving, decoder.isBetweenLines { leave(context) }
    }

    /// What has been answered is sent still.
    private func leave(_ context: ChannelHandlerContext) {
        context.flush()
        context.close(promise: nil)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}
