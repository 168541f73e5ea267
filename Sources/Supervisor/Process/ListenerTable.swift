import Glibc
import Transport

/// The listening sockets: those of the configuration that serves, and meanwhile those of the one to come.
///
/// A listener keeps its socket, its queue and its id over any number of reloads and upgrades while its address stays.
final class ListenerTable {
    /// A listening socket, as an upgrade carries it to the next program.
    struct Entry: Codable {
        var id: UInt16
        var plan: ListenerPlan
        var descriptor: Int32
        /// Its connections are accepted; it waits for its generation otherwise.
        var isServing: Bool
    }

    private let loop: EventLoop
    private let accepted: (Int32, UInt16) -> Void
    private var entries: [Entry] = []
    /// By the socket's descriptor.
    private var listeners: [Int32: Listener] = [:]
    /// By descriptor: who waits for a listener to be closed that accepts no longer, until its queue is empty.
    private var closing: [Int32: [() -> Void]] = [:]
    private var idNext: UInt16 = 0
    private var isAccepting = false
    /// What was asked for while the sockets were given up, for when they are taken back; nil while they are ours.
    private var postponed: [() -> Void]?

    /// Holds no listener yet. `accepted` is given each accepted socket with its listener's id.
    init(_ loop: EventLoop, accepted: @escaping (Int32, UInt16) -> Void) {
        self.loop = loop
        self.accepted = accepted
    }

    /// Takes over listening sockets that serve: those the program was started with, or those it was upgraded with.
    func take(_ inherited: [Entry], idNext: UInt16) {
        self.idNext = idNext
        for entry in inherited { add(entry) }
    }

    /// As an upgrade carries them on.
    var inheritance: (entries: [Entry], idNext: UInt16) { (entries, idNext) }
    /// Those that serve.
    var serving: [Entry] { entries.filter(\.isServing) }
    /// Some are being closed: what their queues hold would be lost if this process became another program now.
    var isClosing: Bool { !closing.isEmpty }
    /// Accepts that failed for want of descriptors or memory, at all listeners.
    private(set) var exhaustedGone: UInt64 = 0
    private(set) var failedGone: UInt64 = 0
    var exhaustedCount: UInt64 { exhaustedGone + listeners.values.reduce(0) { $0 + $1.exhaustedCount } }
    /// Accepts that failed otherwise.
    var failedCount: UInt64 { failedGone + listeners.values.reduce(0) { $0 + $1.failedCount } }

    private func add(_ entry: Entry) {
        entries.append(entry)
        listeners[entry.descriptor] = listen(entry)
        if isAccepting, entry.isServing { listeners[entry.descriptor]?.resume() }
    }

    private func listen(_ entry: Entry) -> Listener {
        // What is accepted has it from its listener: one call for all connections in place of one for each.
        Socket.setNoDelay(entry.descriptor)
        return Listener(loop, fd: entry.descriptor) { [accepted, id = entry.id] in accepted($0, id) }
    }

    private func nextID() -> UInt16 {
        // Ids wrap after 65,536 changes of listeners; one in use is passed over.
        while entries.contains(where: { $0.id == idNext }) { idNext &+= 1 }
        defer { idNext &+= 1 }
        return idNext
    }

    // MARK: Another configuration

    /// Prepares the listeners of a configuration to come and returns their ids in its order. What serves goes on unchanged.
    ///
    /// - Throws: when one cannot be bound; then nothing has changed.
    func prepare(_ plans: [ListenerPlan]) throws(PlanError) -> [UInt16] {
        let staying = entries.filter { closing[$0.descriptor] == nil }
        assert(staying.allSatisfy(\.isServing), "one configuration is prepared at a time")
        var bound: [Entry] = []
        var ids: [UInt16] = []
        var taken: Set<UInt16> = []
        for plan in plans {
            if let current = staying.first(where: { $0.plan.address == plan.address && !taken.contains($0.id) }) {
                taken.insert(current.id)
                ids.append(current.id)
                continue
            }
            do throws(PlanError) {
                let descriptor = try ListenerBinding.bind(plan)
                bound.append(Entry(id: nextID(), plan: plan, descriptor: descriptor, isServing: false))
                ids.append(bound[bound.count - 1].id)
            } catch {
                ListenerBinding.undo(bound.map(\.descriptor))
                throw error
            }
        }
        for entry in bound { add(entry) }
        assert(Set(ids).count == ids.count)
        return ids
    }

    /// Those of the prepared that serve now, with another kind of service.
    func changed(_ ids: [UInt16], _ plans: [ListenerPlan]) -> Set<UInt16> {
        let kinds = Dictionary(uniqueKeysWithValues: serving.map { ($0.id, $0.plan.kind) })
        return Set(zip(ids, plans).filter { id, plan in kinds[id].map { $0 != plan.kind } ?? false }.map(\.0))
    }

    /// Closes these listeners once their queues are empty, then calls `retired`.
    func retire(_ ids: Set<UInt16>, _ retired: @escaping () -> Void) {
        close(entries.filter { ids.contains($0.id) }, retired)
    }

    private func close(_ entries: [Entry], _ closed: @escaping () -> Void) {
        if postponed != nil {
            postponed?.append { [unowned self] in close(entries, closed) }
            return
        }
        var open = 1
        func finish() {
            open -= 1
            if open == 0 { closed() }
        }
        for entry in entries where listeners[entry.descriptor] != nil {
            open += 1
            close(entry.descriptor, finish)
        }
        finish()
    }

    private func close(_ descriptor: Int32, _ closed: @escaping () -> Void) {
        if closing[descriptor] != nil {
            closing[descriptor]?.append(closed)
            return
        }
        closing[descriptor] = [closed]
        listeners[descriptor]?.drainAndClose { [self] in
            forget(descriptor)
            for closed in closing.removeValue(forKey: descriptor) ?? [] { closed() }
        }
    }

    private func forget(_ descriptor: Int32) {
        if let listener = listeners.removeValue(forKey: descriptor) {
            exhaustedGone += listener.exhaustedCount
            failedGone += listener.failedCount
        }
        entries.removeAll { $0.descriptor == descriptor }
    }

    /// What was prepared serves from now on, by these plans.
    func commit(_ ids: [UInt16], _ plans: [ListenerPlan]) {
        for (id, plan) in zip(ids, plans) {
            guard let index = entries.firstIndex(where: { $0.id == id }) else { continue }
            entries[index].plan = plan
            entries[index].isServing = true
            if isAccepting { listeners[entries[index].descriptor]?.resume() }
        }
    }

    /// What was prepared is not wanted any more. Nothing was ever accepted there.
    func rollBack() {
        close(entries.filter { !$0.isServing }) {}
    }

    // MARK: Accepting

    func pause() {
        isAccepting = false
        for listener in listeners.values { listener.pause() }
    }

    func resume() {
        isAccepting = true
        for entry in entries where entry.isServing { listeners[entry.descriptor]?.resume() }
    }

    /// Accepts until every queue is empty, closes the listeners, then calls `closed`.
    func drainAndClose(_ closed: @escaping () -> Void) {
        isAccepting = false
        close(entries, closed)
    }

    // MARK: Another program

    /// Stops accepting for good, hands over what was accepted, then calls `given`: the sockets stay open and listen on.
    ///
    /// Listeners that are closing already go on with that.
    func giveUp(_ given: @escaping () -> Void) {
        assert(postponed == nil)
        postponed = []
        var open = 1 + listeners.values.count { !$0.isDraining }
        func finish() {
            open -= 1
            if open == 0 { given() }
        }
        for listener in listeners.values where !listener.isDraining { listener.detach { _ in finish() } }
        finish()
    }

    /// Goes on with the sockets after ``giveUp(_:)``: there is no other program after all.
    func takeBack() {
        let postponed = postponed ?? []
        self.postponed = nil
        for entry in entries where listeners[entry.descriptor]?.isDraining == false {
            if let listener = listeners[entry.descriptor] {
                exhaustedGone += listener.exhaustedCount
                failedGone += listener.failedCount
            }
            listeners[entry.descriptor] = listen(entry)
            if isAccepting, entry.isServing { listeners[entry.descriptor]?.resume() }
        }
        for task in postponed { task() }
    }
}
