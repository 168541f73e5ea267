import NIOCore

/// The last handler of a listener's pipeline but for the user's: sets up each accepted channel, has it begin its life, and
/// hands on what the initializer made of it.
///
/// Unchecked: on the loop's thread only, as every handler.
final class AcceptHandler<Output: Sendable>: ChannelInboundHandler, @unchecked Sendable {
    typealias InboundIn = RingStreamChannel
    typealias InboundOut = Output

    private let childSetUp: ChannelSetUp
    private let initialize: @Sendable (any NIOCore.Channel) -> EventLoopFuture<Output>

    init(
        _ childSetUp: ChannelSetUp,
        _ initialize: @escaping @Sendable (any NIOCore.Channel) -> EventLoopFuture<Output>
    ) {
        self.childSetUp = childSetUp
        self.initialize = initialize
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is ChannelShouldQuiesceEvent {
            let bound = context.loopBound
            context.channel.close().whenFailure { bound.value.fireErrorCaught($0) }
        }
        context.fireUserInboundEventTriggered(event)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let child = Self.unwrapInboundIn(data)
        let initialize = initialize
        let childSetUp = childSetUp
        let output = child.onLoop {
            childSetUp.apply(to: child).flatMap { initialize(child) }.flatMap { output in
                child.registerConfigured().map { output }
            }
        }
        let bound = context.loopBound
        output.hop(to: context.eventLoop).assumeIsolated().whenComplete { result in
            let context = bound.value
            switch result {
            case .success(let output):
                // Of several loops some are quicker: in any order, but not after the end.
                if context.channel.isActive {
                    context.fireChannelRead(Self.wrapInboundOut(output))
                } else {
                    child.close(promise: nil)
                }
            case .failure(let error):
                context.fireErrorCaught(error)
            }
        }
    }
}
