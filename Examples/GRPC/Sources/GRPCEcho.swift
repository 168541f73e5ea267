// A gRPC service, with a supervisor and worker processes.
//
//   swift run --package-path Examples/GRPC grpc-echo --listen 127.0.0.1:50051
import Ringmaster
import Transport

@main struct GRPCEcho: RingmasterApplication {
    static let name = "grpc-echo"
    static let abstract = "Answers texts with the same texts, over gRPC."

    func makeService(_ context: ServiceContext) -> any Service {
        GRPCService.make([EchoService()], logger: context.logger)
    }
}
