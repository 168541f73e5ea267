// A JSON API on Hummingbird, with a supervisor and worker processes.
//
//   swift run todo-api --listen 127.0.0.1:8080        then: curl 127.0.0.1:8080/todos
import Ringmaster
import RingmasterHummingbird
import Transport

@main struct TodoAPI: RingmasterApplication {
    static let name = "todo-api"
    static let abstract = "Keeps lists of things to do, one in each worker."

    func makeService(_ context: ServiceContext) -> any Service {
        HummingbirdService.make(router: todoRouter(), logger: context.logger)
    }
}
