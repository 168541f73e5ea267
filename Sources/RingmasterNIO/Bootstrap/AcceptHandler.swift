import NIOCore

/// The last handler of a listener's pipeline but for the user's: sets up each accepted channel, has it begin its life, and
/// hands on what the initializer made of it.
///
/// Unchecked: on the loop's thread only, as every handler.
final class AcceptHandler<Output: Sendable>: ChannelInboundHandler, @unchecked Sendable {
    typealias InboundIn = RingStreamChannel
    typealias InboundOut = Output

    private let childSetUp: ChannelSetUp
    /// Whether the listener's pipeline hears of connections that could not be set up. An asynchronous channel would end its
    /// sequence of connections with the first of them.
    private let tellsFailures: Bool
    /// Called from within a burst of reads: its end is still to be told.
    private var isReading = false
    private let initialize: @Sendable (any NIOCore.Channel) -> EventLoopFuture<Output>

    init(
        _ childSetUp: ChannelSetUp, tellsFailures: Bool = true,
        _ initialize: @escaping @Sendable (any NIOCore.Channel) -> EventLoopFuture<Output>
    ) {
        self.childSetUp = childSetUp
        self.tellsFailures = tellsFailures
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
        isReading = true
        defer { isReading = false }
        let child = Self.unwrapInboundIn(data)
        guard let listenerLoop = context.eventLoop as? RingEventLoop else {
            preconditionFailure("a listener is on a loop of this module")
        }
        let bound = context.loopBound
        let (childSetUp, initialize) = (childSetUp, initialize)
        let begin: @Sendable () -> Void = {
            let output = child.closingOnFailure(
                childSetUp.apply(to: child).flatMap { initialize(child) }.flatMap { output in
                    child.registerConfigured().map { output }
                })
            output.whenComplete { result in
                let end: @Sendable () -> Void = { self.setUp(child, result, bound.value) }
                if listenerLoop.inEventLoop { return end() }
                if !listenerLoop.tasks.offer(.function(end)), case .success(let output) = result {
                    Self.discard(child, output)
                }
            }
        }
        // Not by futures from loop to loop: when the loops shut down, nobody would be left to keep their promises.
        if child.loop.inEventLoop { return begin() }
        if !child.loop.tasks.offer(.function(begin)) { child.discard() }
    }

    /// Nobody takes what has come of the channel. It is kept until the channel has closed: one that is asynchronous must not go
    /// before that.
    private static func discard(_ child: RingStreamChannel, _ output: Output) {
        child.closeFuture.whenComplete { _ in withExtendedLifetime(output) {} }
        child.close(promise: nil)
    }

    private func setUp(
        _ child: RingStreamChannel, _ result: Result<Output, any Error>, _ context: ChannelHandlerContext
    ) {
        switch result {
        // Of several loops some are quicker: in any order, but not after the end.
        case .success(let output) where context.channel.isActive:
            context.fireChannelRead(Self.wrapInboundOut(output))
            // The burst may be over, and an asynchronous channel hands on what it has read when a burst ends.
            if !isReading { context.fireChannelReadComplete() }
        case .success(let output):
            Self.discard(child, output)
        case .failure(let error):
            if tellsFailures { context.fireErrorCaught(error) }
        }
    }
}
