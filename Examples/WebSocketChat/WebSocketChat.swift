// A chat over WebSocket: what one client writes, all others of the same worker read. With several workers there are
// several rooms, and a client is in that of the worker it was given to: a chat for all of them needs a broker between.
//
//   swift run websocket-chat --listen 127.0.0.1:8080 --workers 1        then: python -m websockets ws://127.0.0.1:8080/
import Ringmaster
import RingmasterNIO
import Transport

@main struct WebSocketChat: RingmasterApplication {
    static let name = "websocket-chat"
    static let abstract = "A chat over WebSocket, one room in each worker."

    func makeService(_ context: ServiceContext) -> any Service {
        NIOService(initializer: Room().enter)
    }
}
