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
    /// Of several loops, some are quicker: what is set up is handed on in any order, but not after the end.
    private let handsOn: Bool

    /// - Parameter handsOn: whether there is a handler behind this one that wants the outputs.
    init(
        _ childSetUp: ChannelSetUp, handsOn: Bool,
        _ initialize: @escaping @Sendable (any NIOCore.Channel) -> EventLoopFuture<Output>
    ) {
        self.childSetUp = childSetUp
        self.handsOn = handsOn
        self.initialize = initialize
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is ChannelShouldQuiesceEvent { context.close(promise: nil) }
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
                if context.channel.isActive {
                    if self.handsOn { context.fireChannelRead(Self.wrapInboundOut(output)) }
                } else {
                    child.close(promise: nil)
                }
            case .failure(let error):
                context.fireErrorCaught(error)
            }
        }
    }
}
