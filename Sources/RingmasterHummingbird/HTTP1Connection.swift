import HTTPTypes
import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1
import NIOHTTPTypes
import NIOHTTPTypesHTTP1

/// A connection that speaks HTTP/1.1: what Hummingbird's own does, with limits, and with an end at which no answer is lost.
struct HTTP1Connection: HTTPChannelHandler {
    typealias Value = NIOAsyncChannel<HTTPRequestPart, HTTPResponsePart>

    let responder: HTTPChannelHandler.Responder
    let configuration: HTTP1Channel.Configuration
    let limits: HTTPLimits
    let isSecure: Bool
    /// What is asked before the responder is; nil for nothing.
    var immediate: (responder: ImmediateResponder, date: HTTPDate)?

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        channel.eventLoop.makeCompletedFuture {
            let pipeline = channel.pipeline.syncOperations
            let requests = HTTP1Handler(
                limits, edge: try? pipeline.handler(type: ConnectionEdge.self),
                immediate: immediate.map { ImmediateAnswers($0.responder, $0.date) })
            try pipeline.addHandler(HeadWatch(requests, limits))
            try pipeline.configureHTTPServerPipeline(
                withPipeliningAssistance: false, withErrorHandling: false, withOutboundHeaderValidation: false,
                withEncoderConfiguration: .init(), withDecoderLimitConfiguration: decoderLimits)
            try pipeline.addHandler(requests)
            try pipeline.addHandler(HTTP1ToHTTPServerCodec(secure: isSecure))
            try pipeline.addHandlers(configuration.additionalChannelHandlers())
            return try NIOAsyncChannel(
                wrappingChannelSynchronously: channel, configuration: .init(isOutboundHalfClosureEnabled: true))
        }
    }

    private var decoderLimits: NIOHTTPDecoderLimitConfiguration {
        var decoder = NIOHTTPDecoderLimitConfiguration()
        decoder.maxHeaderFieldSize = min(configuration.httpDecoder.maxHeaderFieldSize, limits.headBytesMax)
        decoder.maxHeaderListSize = min(configuration.httpDecoder.maxHeaderListSize, limits.headBytesMax)
        decoder.maxHeaderFieldCount = configuration.httpDecoder.maxHeaderFieldCount
        return decoder
    }

    func handle(value: Value, logger: Logger) async {
        await handleHTTP(asyncChannel: value, logger: logger)
    }

    /// Whether a connection is between two requests, with nothing of the next one taken from it.
    static func isAtRest(_ channel: any Channel) -> Bool {
        let handlers = channel.pipeline.syncOperations
        guard let requests = try? handlers.handler(type: HTTP1Handler.self),
            let watch = try? handlers.handler(type: HeadWatch.self)
        else { return false }
        return requests.isAtRest && watch.isClear
    }
}
