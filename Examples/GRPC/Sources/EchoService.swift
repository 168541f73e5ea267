import GRPCCore

/// The service of `echo.proto`.
struct EchoService: RegistrableRPCService {
    private static let service = ServiceDescriptor(fullyQualifiedService: "ringmaster.echo.Echo")

    func registerMethods<Transport: ServerTransport>(with router: inout RPCRouter<Transport>) {
        let get = MethodDescriptor(service: Self.service, method: "Get", type: .unary)
        router.registerHandler(forMethod: get, deserializer: TextCoding(), serializer: TextCoding()) { request, _ in
            let request = try await ServerRequest(stream: request)
            return StreamingServerResponse(single: ServerResponse(message: request.message))
        }
        let update = MethodDescriptor(service: Self.service, method: "Update", type: .bidirectionalStreaming)
        router.registerHandler(forMethod: update, deserializer: TextCoding(), serializer: TextCoding()) { request, _ in
            StreamingServerResponse { writer in
                for try await message in request.messages { try await writer.write(message) }
                return [:]
            }
        }
    }
}
