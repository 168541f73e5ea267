import Glibc
import HTTPTypes
import Hummingbird

/// What can be asked for, and the store that answers: a new one for each worker.
func todoRouter() -> Router<BasicRequestContext> {
    let todos = Todos()
    let router = Router()
    router.middlewares.add(WorkerHeader())
    let group = router.group("todos")
    group.get { _, _ in await todos.all }
    group.get(":id") { _, context in
        try await todos.find(context.parameters.require("id", as: Int.self)).orNotFound()
    }
    group.post { request, context in
        let wanted = try await request.decode(as: NewTodo.self, context: context)
        return EditedResponse(status: .created, response: await todos.add(wanted.title))
    }
    group.patch(":id") { request, context in
        let change = try await request.decode(as: TodoChange.self, context: context)
        return try await todos.change(context.parameters.require("id", as: Int.self), to: change).orNotFound()
    }
    group.delete(":id") { _, context -> HTTPResponse.Status in
        _ = try await todos.remove(context.parameters.require("id", as: Int.self)).orNotFound()
        return .noContent
    }
    return router
}

extension Optional {
    /// 404 for what is not there.
    func orNotFound() throws -> Wrapped {
        guard let self else { throw HTTPError(.notFound) }
        return self
    }
}

/// Says in each response which worker has answered.
struct WorkerHeader<Context: RequestContext>: RouterMiddleware {
    private let value = "\(getpid())"

    func handle(
        _ request: Request, context: Context, next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        do {
            var response = try await next(request, context)
            response.headers[.worker] = value
            return response
        } catch var error as HTTPError {
            error.headers[.worker] = value
            throw error
        }
    }
}

extension HTTPField.Name {
    static let worker = Self("X-Worker")!
}
