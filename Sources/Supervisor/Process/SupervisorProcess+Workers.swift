import CSocket
import Glibc
import Handoff
import Logging
import Transport

/// Worker processes: started, spoken with, reaped.
extension SupervisorProcess {
    func handle(of worker: WorkerID) -> WorkerHandle? {
        guard handles.indices.contains(worker.slot), let handle = handles[worker.slot], handle.worker == worker else {
            return nil
        }
        return handle
    }

    // MARK: Birth

    func spawn(_ worker: WorkerID, _ generation: Generation) {
        reserve.releaseOneStart()
        defer { reserve.refill(workerCount: state.wanted) }
        do {
            try makePage(worker.slot)
            precondition(handles[worker.slot] == nil, "a slot has one worker at a time")
            pages[worker.slot].reset()
            handles[worker.slot] = try launch(worker, generation)
        } catch {
            logger.error(
                "a worker cannot be started", metadata: ["slot": .stringConvertible(worker.slot), "error": "\(error)"])
            feed(.exited(worker, .code(ExitCode.internalError.rawValue), finalReading: nil))
        }
    }

    private func makePage(_ slot: Int) throws {
        while pages.count <= slot {
            pages.append(SupervisorPage(try StatusPage.create(slot: pages.count)))
            handles.append(nil)
        }
    }

    private func launch(_ worker: WorkerID, _ generation: Generation) throws -> WorkerHandle {
        guard let configuration = configurations[generation] else {
            preconditionFailure("a generation has a configuration until its last worker is gone")
        }
        let text = try Self.text(configuration.text)
        defer { close(text) }
        let (ours, theirs) = try HandoffSocket.pair()
        let (reading, writing) = try WorkerErrorPipe.pipe()
        defer { close(writing) }
        let birth = WorkerBirth(
            slot: worker.slot, incarnation: worker.incarnation, generation: generation,
            // Any worker may have them all for a time: the others may be draining, or dead. The sum is kept here.
            connectionsMax: configuration.connectionsMax, loop: setup.loopKind, listeners: configuration.listeners)
        let inheritance = WorkerLauncher.Inheritance(
            standardError: writing, control: theirs.descriptor, page: pages[worker.slot].page.descriptor,
            configuration: text, log: STDERR_FILENO)
        let pid: pid_t
        do {
            pid = try setup.launcher.launch(birth, inheritance)
        } catch {
            close(reading)
            throw error
        }
        withExtendedLifetime(theirs) {}
        let slot = worker.slot
        return WorkerHandle(
            loop, worker, pid: pid, ours, errors: reading,
            packetsWaiting: { [unowned self] in takePacketsInTurns(slot) }, processEnded: { [unowned self] in reap() })
    }

    func adopt(_ inheritance: WorkerHandle.Inheritance) -> WorkerHandle {
        let slot = inheritance.worker.slot
        return WorkerHandle(
            loop, inheritance, packetsWaiting: { [unowned self] in takePacketsInTurns(slot) },
            processEnded: { [unowned self] in reap() })
    }

    private static func text(_ bytes: [UInt8]) throws -> Int32 {
        guard bytes.isEmpty else { return try SealedMemory.make(bytes, name: "ringmaster-configuration") }
        return try SystemError.check(open("/dev/null", O_RDONLY | O_CLOEXEC), "open")
    }

    // MARK: Death

    /// Collects every child that has ended. As PID 1 of a container that includes orphans that are not our workers.
    func reap() {
        var status: Int32 = 0
        while case let pid = waitpid(-1, &status, WNOHANG), pid > 0 {
            if let check, check.pid == pid {
                self.check = nil
                check.reaped(ExitStatus(waitStatus: status))
            } else if let handle = handles.lazy.compactMap({ $0 }).first(where: { $0.pid == pid }) {
                ended(handle, ExitStatus(waitStatus: status))
            }
        }
    }

    private func ended(_ handle: WorkerHandle, _ status: ExitStatus) {
        let slot = handle.worker.slot
        // Its last words are still in the socket and in the pipe, and what it adopted last is still in the page.
        handle.isReaped = true
        while takePackets(handle) {}
        handle.errors.finish()
        if status != .code(0) || !handle.errors.text.isEmpty {
            lastWords[slot] = LastWords(
                slot: slot, incarnation: handle.worker.incarnation, pid: handle.pid, endedAt: Int64(time(nil)),
                ending: handle.ending(status), text: handle.errors.text)
        }
        var final: PageReading?
        do throws(PageCorruption) {
            final = try pages[slot].read(sent: handle.sent)
        } catch {
            logger.error(
                "a dead worker's status page is corrupt",
                metadata: ["slot": .stringConvertible(slot), "reason": "\(error)"])
        }
        handles[slot] = nil
        handle.release()
        feed(.exited(handle.worker, status, finalReading: final))
        dropConfigurations()
    }

    /// Generations that are gone for good need no configuration any more.
    private func dropConfigurations() {
        let alive = Set(state.status(now: .now).workers.map(\.generation))
        configurations = configurations.filter { generation, _ in
            alive.contains(generation) || generation == state.generation || generation == preparation?.generation
        }
    }

    // MARK: What workers say

    /// Takes what waits in turns of a few packets, so that no worker can keep the supervisor from the others.
    private func takePacketsInTurns(_ slot: Int) {
        guard let handle = handles[slot], takePackets(handle) else { return }
        loop.executeAtEndOfTurn { [unowned self] in takePacketsInTurns(slot) }
    }

    /// Takes a few packets from a worker; returns whether there may be more.
    private func takePackets(_ handle: WorkerHandle) -> Bool {
        let taker = WorkerMail.Taker(
            packet: { [unowned self] in take($0, $1, handle) },
            offers: { [unowned self] in offered($0, handle) },
            malformed: { [unowned self] in distrust(handle, "it sent something that is no packet: \($0)") })
        return WorkerMail.take(from: handle.control, isReaped: handle.isReaped, taker)
    }

    /// Returns whether it made sense.
    private func take(_ packet: Packet, _ descriptors: [Int32], _ handle: WorkerHandle) -> Bool {
        let worker = handle.worker
        switch packet {
        case .hello(let version, _, _):
            // The process may yet become the program again that it was: that one must understand every worker.
            guard let agreed = Packet.versionAgreed(with: min(version, arrival?.handoffVersion ?? version)) else {
                distrust(handle, "it speaks no version of the hand-off protocol that this program does: \(version)")
                return false
            }
            handle.control.version = agreed
            feed(.hello(worker))
            feed(.versionAgreed(worker, migrates: handle.control.version >= Packet.migrationVersion))
        case .ready: feed(.ready(worker))
        case .drained(let forced):
            handle.hasDrained = true
            feed(.drained(worker, forced: forced))
        case .failed(let code, let message): feed(.failed(worker, code, message: message))
        case .connections, .migrated, .drain, .stop, .offerTaken, .offerRefused, .offer:
            distrust(handle, "it sent a supervisor's packet")
            for descriptor in descriptors { close(descriptor) }
            return false
        }
        return true
    }

    /// The pages are read once for all of them: what each adds to the loads is known without.
    private func offered(_ offers: [WorkerMail.Offer], _ handle: WorkerHandle) {
        let now = MonotonicTime.now
        readPages(now)
        let isLastCopy = handle.isReaped || handle.hasDrained
        for offer in offers {
            // No descriptor or no memory left for it here: the worker has its own and goes on.
            guard !offer.isTruncated, sockets.hasRoom(forState: offer.connection.state.count) else {
                for descriptor in offer.descriptors { close(descriptor) }
                tell(handle.worker, .offerRefused(number: offer.number))
                continue
            }
            let socket = sockets.offered(offer.connection, offer.descriptors)
            feed(.offered(handle.worker, number: offer.number, socket, isLastCopy: isLastCopy), at: now)
        }
    }

    private func distrust(_ handle: WorkerHandle, _ reason: String) {
        guard !handle.isReaped else { return }
        logger.error(
            "worker killed", metadata: ["worker": .stringConvertible(handle.worker.slot), "reason": "\(reason)"])
        handle.signal(SIGKILL)
    }

    // MARK: What workers are told

    /// Returns whether the packet went out. If not, that is fed when the list of actions at hand is done.
    func send(_ worker: WorkerID, _ first: SequenceNumber, _ ids: [SocketID]) -> Bool {
        guard let handle = handle(of: worker) else { return false }
        let result: SendResult
        if let held = sockets.givenUp(ids[0]) {
            assert(ids.count == 1, "an offered connection travels alone")
            let connection = MigratedConnection(
                record: held.record, socketCount: held.descriptors.count, state: held.state ?? [])
            result = handle.control.send(migrated: first, connection, fds: held.descriptors)
        } else {
            let sockets = sockets
            result = handle.control.send(
                connections: first, records: ids.map { sockets.record($0) }, fds: ids.map(\.rawValue))
        }
        let refusal: SupervisorState.SendRefusal
        switch result {
        case .sent:
            handle.sent = first + SequenceNumber(ids.count)
            return true
        case .full: refusal = .full
        case .tooManyInFlight: refusal = .tooManyInFlight
        case .peerGone: refusal = .gone
        case .failed(let code):
            // ENOBUFS, ENOMEM and the like pass: the sockets stay ours and are sent again.
            logger.warning(
                "hand-off failed",
                metadata: ["worker": .stringConvertible(worker.slot), "error": "\(String(cString: strerror(code)))"])
            refusal = .full
        }
        refusals.append(.sendRefused(worker, first: first, refusal))
        return false
    }

    /// It must not go on with what is another's now.
    func tellTaken(_ worker: WorkerID, _ number: UInt32) {
        guard let handle = handle(of: worker) else { return }
        let result = handle.control.send(.offerTaken(number: number))
        if result == .sent || result == .peerGone { return }
        // Its 64 offers without an answer leave room for each answer, so this is a worker that reads nothing.
        distrust(handle, "it cannot be told that its connection was taken: \(result)")
    }

    /// Now, or when its socket has room again.
    func tell(_ worker: WorkerID, _ notice: NoticeQueue.Notice) {
        guard let handle = handle(of: worker) else { return }
        guard handle.notices.append(notice) else { return distrust(handle, "it reads nothing of what it is told") }
        deliverNotices()
    }

    func deliverNotices() {
        var isLeft = false
        for handle in handles.lazy.compactMap({ $0 }) where !handle.notices.isEmpty {
            handle.notices.flush(now: .now) { handle.control.send($0) }
            if !handle.notices.isEmpty { isLeft = true }
        }
        if isLeft { noticeTimer?.arm(after: NoticeQueue.interval) }
    }

    // MARK: Memory

    private static let memoryInterval: Duration = .seconds(5)

    /// Tells the state machine how large the workers are, if somebody wants to know.
    func readMemory() {
        if state.configuration.recycle.memoryMax != nil {
            for handle in handles.compactMap({ $0 }) {
                if let bytes = handle.residentBytes { feed(.memory(handle.worker, bytes: bytes)) }
            }
        }
        memoryTimer?.arm(after: Self.memoryInterval)
    }
}
