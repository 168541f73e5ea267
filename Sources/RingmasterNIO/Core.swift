import Transport

// SwiftNIO and Transport have types of the same names; these are Transport's.
typealias CoreLoop = Transport.EventLoop
typealias CoreLoopGroup = Transport.EventLoopGroup
typealias CoreLoopRemote = Transport.EventLoopRemote
typealias CoreTimer = Transport.LoopTimer
typealias CoreTime = Transport.MonotonicTime
typealias CoreConnection = Transport.Connection
typealias CoreConnectionConfiguration = Transport.ConnectionConfiguration
typealias CoreCloseReason = Transport.CloseReason
typealias CoreConnector = Transport.Connector
typealias CoreConnectedSocket = Transport.ConnectedSocket
typealias CoreConnectError = Transport.ConnectError
typealias CoreListener = Transport.Listener
typealias CoreDatagram = Transport.Datagram
typealias CoreFileRegion = Transport.FileRegion
typealias CoreDescriptor = Transport.OwnedDescriptor
typealias CoreSocket = Transport.Socket
typealias CoreSocketOption = Transport.SocketOption
typealias CoreAddress = Transport.SocketAddress
typealias ConnectionOrigin = Transport.ConnectionOrigin
typealias CoreError = Transport.SystemError
