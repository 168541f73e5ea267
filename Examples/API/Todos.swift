import Hummingbird

/// Something to do.
struct Todo: ResponseCodable {
    var id: Int
    var title: String
    var isDone = false
}

/// What a client sends to have one made.
struct NewTodo: Decodable {
    var title: String
}

/// What a client sends to change one; what is missing stays as it is.
struct TodoChange: Decodable {
    var title: String?
    var isDone: Bool?
}

/// The list of one worker, in memory: other workers have lists of their own, and it is gone when the worker is. A service
/// that is meant to keep something keeps it in a database.
///
/// An actor, and yet requests do not leave the worker's thread for it: they prefer the loop's executor, and so does it.
actor Todos {
    private var byID: [Int: Todo] = [:]
    private var lastID = 0

    var all: [Todo] { byID.values.sorted { $0.id < $1.id } }

    func find(_ id: Int) -> Todo? { byID[id] }

    func add(_ title: String) -> Todo {
        lastID += 1
        let todo = Todo(id: lastID, title: title)
        byID[lastID] = todo
        return todo
    }

    func change(_ id: Int, to change: TodoChange) -> Todo? {
        if let title = change.title { byID[id]?.title = title }
        if let isDone = change.isDone { byID[id]?.isDone = isDone }
        return byID[id]
    }

    func remove(_ id: Int) -> Todo? { byID.removeValue(forKey: id) }
}
