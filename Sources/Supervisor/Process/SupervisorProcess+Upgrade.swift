import FoundationEssentials
import Glibc
import Handoff
import Logging
import Transport

/// The upgrade: this process becomes another program, with the same PID, the same listeners and the same workers.
///
/// The new program's file checks itself first, in a child. Then accepting pauses, every completed accept is taken, the
/// state goes into a memfd, and execve(2) does the rest: workers stay children of this PID, descriptors stay open, and what
/// workers say waits in their sockets. The new program starts a generation of its own; when that serves, the old workers
/// drain by migration. If it cannot be made to serve, the new program becomes the old one again, in the same way.
extension SupervisorProcess {
    // MARK: The way there

    func upgrade(_ command: CommandID?) {
        if let reason = noUpgrade {
            logger.warning("upgrade refused", metadata: ["reason": "\(reason)"])
            return refuseReplacement(command, reason)
        }
        logger.info("upgrade: checking the new program", metadata: ["path": "\(setup.programPath)"])
        reserve.release()
        defer { reserve.refill(workerCount: state.wanted) }
        do {
            // As it is now, so that the check can read it: the real one is made when nothing moves any more.
            let preview = try image(command).seal()
            defer { close(preview) }
            let file = FileIdentity(setup.programPath)
            check = try ProgramCheck(
                loop, setup.launcher, name: setup.name, path: setup.programPath, image: preview,
                ended: { [unowned self] in reap() }, finished: { [unowned self] in checked($0, file, command) })
        } catch {
            refuseUpgrade("\(setup.programPath) cannot be started: \(error)", command)
        }
    }

    private var noUpgrade: String? {
        if check != nil || arrival != nil || isGivingUp { return "an upgrade is under way" }
        if preparation != nil || isReading { return "a reload is under way" }
        return noFreeze
    }

    /// Why this process cannot become another program now; nil if it can.
    private var noFreeze: String? {
        state.canFreeze ?? (listeners.isClosing ? "listeners are being closed" : nil)
    }

    private func refuseUpgrade(_ reason: String, _ command: CommandID?) {
        logger.error("upgrade refused: the old program goes on", metadata: ["reason": "\(reason)"])
        refuseReplacement(command, reason)
        nextReload()
    }

    private func checked(_ problem: String?, _ file: FileIdentity?, _ command: CommandID?) {
        if let reason = problem ?? noUpgrade { return refuseUpgrade(reason, command) }
        giveUp(
            for: { [unowned self] in becomeNext(file, command) },
            otherwise: { [unowned self] in refuseUpgrade($0, command) })
    }

    /// Stops accepting, has what was accepted delivered, then has `body` replace the program. If that returns, with the
    /// reason, accepts again and calls `failed`.
    private func giveUp(for body: @escaping () -> String, otherwise failed: @escaping (String) -> Void) {
        isGivingUp = true
        listeners.giveUp { [unowned self] in
            // Not within a completion: others of the same batch, accepts of other listeners among them, come first.
            loop.executeAtEndOfTurn { [unowned self] in
                feedArrivals()
                let problem = body()
                isGivingUp = false
                listeners.takeBack()
                failed(problem)
            }
        }
    }

    /// Returns, with the reason, only if it failed.
    private func becomeNext(_ file: FileIdentity?, _ command: CommandID?) -> String {
        // Between the check and now a worker may have died, the supervisor been told to stop, or the file been replaced.
        if let reason = noFreeze { return reason }
        guard FileIdentity(setup.programPath) == file else { return ProgramCheck.replaced(setup.programPath) }
        reserve.release()
        defer { reserve.refill(workerCount: state.wanted) }
        do {
            let image = try image(command)
            let descriptor = try image.seal()
            defer { close(descriptor) }
            logger.info("upgrade: the new program takes over")
            return image.handOver(descriptor, to: setup.programPath, setup.launcher)
        } catch {
            return "\(error)"
        }
    }

    private func image(_ command: CommandID?) throws -> UpgradeImage {
        let table = listeners.inheritance
        return UpgradeImage(
            state: state, listeners: table.entries, listenerIDNext: table.idNext,
            held: sockets.all.map { held in
                UpgradeImage.Held(
                    descriptors: held.descriptors, listener: held.record.listener, peer: held.record.peer,
                    acceptedAt: held.record.acceptedAt, state: held.state.map { Data($0) })
            },
            workers: handles.compactMap { $0?.inheritance },
            pages: pages.enumerated().map { slot, page in
                UpgradeImage.Page(slot: slot, descriptor: page.page.descriptor, progress: page.progress)
            },
            lastWords: Array(lastWords.values), configurations: configurations, control: control?.inheritance,
            command: command, startedAt: startedAt, loopKind: setup.loopKind, formerProgram: try formerProgram(),
            arguments: setup.launcher.arguments, environment: setup.launcher.environment,
            programPath: setup.programPath, reloadWaiting: reloadWaiting, returned: nil)
    }

    /// This program's file, open for as long as the process lives: its name may be another's by now.
    private func formerProgram() throws -> Int32 {
        if programDescriptor < 0 {
            programDescriptor = try SystemError.check(open("/proc/self/exe", O_RDONLY | O_CLOEXEC), "open")
        }
        return programDescriptor
    }

    // MARK: Arrival

    /// Takes over everything in the image. What can fail comes first, and leaves the image's descriptors alone.
    func take(_ image: UpgradeImage) throws {
        var taken: [SupervisorPage] = []
        for page in image.pages.sorted(by: { $0.slot < $1.slot }) {
            let copy = try SystemError.check(fcntl(page.descriptor, F_DUPFD_CLOEXEC, 3), "fcntl")
            taken.append(SupervisorPage(try StatusPage(owning: copy), resuming: page.progress))
        }
        if let inheritance = image.control {
            control = try ControlServer(loop, inheritance) { [unowned self] in asked($0, $1) }
        }
        for descriptor in image.descriptors { _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC) }
        for page in image.pages { close(page.descriptor) }
        pages = taken
        handles = Array(repeating: nil, count: pages.count)
        for worker in image.workers { handles[worker.worker.slot] = adopt(worker) }
        for held in image.held {
            // One that a program accepted whose listeners did not have it yet.
            if held.state == nil, held.peer.port != nil { held.descriptors.forEach(Socket.setNoDelay) }
            sockets.hold(
                SocketStore.Held(
                    record: ConnectionRecord(listener: held.listener, peer: held.peer, acceptedAt: held.acceptedAt),
                    descriptors: held.descriptors, state: held.state.map(Array.init)))
        }
        listeners.take(image.listeners, idNext: image.listenerIDNext)
        configurations = image.configurations
        reloadWaiting = image.reloadWaiting
        for words in image.lastWords { lastWords[words.slot] = words }
        arrival = image
    }

    /// The loop runs: goes on where the program before left off.
    func arrived(_ image: UpgradeImage) {
        // What workers said meanwhile waits in their sockets; the watches tell of it.
        if let returned = image.returned {
            arrival = nil
            close(image.formerProgram)
            logger.error("upgrade failed: the old program goes on", metadata: ["reason": "\(returned.reason)"])
            answer(image.command, .failed(returned.reason))
            return nextReload()
        }
        logger.info("upgrade: the new program has everything, and starts its workers")
        replaceAll(.upgrade, setup.plan, image.command)
    }

    /// The new workers serve: there is no way back.
    func forgetFormer() {
        guard let arrival else { return }
        close(arrival.formerProgram)
        self.arrival = nil
        logger.info("upgraded", metadata: ["version": "\(setup.version)"])
    }

    // MARK: The way back

    /// Whether this is the end of an upgrade that failed after the exec: then the former program gives the answer.
    func returnsToFormer(_ command: CommandID?, _ outcome: CommandOutcome) -> Bool {
        guard let arrival, returnReason == nil, arrival.command == command, preparation == nil else { return false }
        switch outcome {
        case .done: return false
        case .refused(let reason), .failed(let reason):
            guard state.noCommands == nil else {
                // It was told to stop meanwhile, and this program can do that as well.
                close(arrival.formerProgram)
                self.arrival = nil
                return false
            }
            logger.error("upgrade: going back to the old program", metadata: ["reason": "\(reason)"])
            returnReason = reason
            returnAttempts = 0
            tryReturn()
            return true
        }
    }

    private static let returnInterval: Duration = .milliseconds(100)
    /// A minute's.
    private static let returnAttemptsMax = 600

    /// Workers of the generation that failed are about to leave. The former program may not know what they speak.
    private var hasFailedWorkers: Bool {
        state.status(now: .now).workers.contains { $0.generation > state.generation }
    }

    /// Goes back as soon as the state can be frozen and the failed workers are gone, if the former program can go on from
    /// there.
    func tryReturn() {
        guard let arrival, let returnReason, check == nil else { return }
        if let reason = state.noCommands { return stay(reason) }
        guard noFreeze == nil, !hasFailedWorkers else {
            returnAttempts += 1
            guard returnAttempts <= Self.returnAttemptsMax else {
                return stay(noFreeze ?? "the new program's workers do not end")
            }
            return returnTimer?.arm(after: Self.returnInterval) ?? ()
        }
        reserve.release()
        defer { reserve.refill(workerCount: state.wanted) }
        do {
            let preview = try imageForFormer(arrival).returning(returnReason).seal()
            defer { close(preview) }
            check = try ProgramCheck(
                loop, arrival.formerLauncher, name: setup.name, path: arrival.formerPath, file: arrival.formerProgram,
                image: preview, ended: { [unowned self] in reap() },
                finished: { [unowned self] problem in
                    if let problem { return stay("the old program: \(problem)") }
                    giveUp(
                        for: { [unowned self] in becomeFormer(arrival, returnReason) },
                        otherwise: { [unowned self] in stay($0) })
                })
        } catch {
            stay("\(error)")
        }
    }

    /// Returns, with the reason, only if it failed.
    private func becomeFormer(_ arrival: UpgradeImage, _ reason: String) -> String {
        if let obstacle = noFreeze { return obstacle }
        reserve.release()
        defer { reserve.refill(workerCount: state.wanted) }
        do {
            return try imageForFormer(arrival).giveBack(reason: reason)
        } catch {
            return "\(error)"
        }
    }

    private func imageForFormer(_ arrival: UpgradeImage) throws -> UpgradeImage {
        var image = try image(arrival.command)
        image.formerProgram = arrival.formerProgram
        (image.arguments, image.environment) = (arrival.arguments, arrival.environment)
        image.programPath = arrival.programPath
        return image
    }

    /// There is no way back: this program's supervisor goes on with the old workers.
    private func stay(_ problem: String) {
        guard let arrival, let reason = returnReason else { return }
        logger.critical("upgrade: no way back to the old program", metadata: ["reason": "\(problem)"])
        close(arrival.formerProgram)
        self.arrival = nil
        returnReason = nil
        answer(
            arrival.command,
            .failed("\(reason); no way back to the old program (\(problem)): this one goes on with the old workers"))
        nextReload()
    }
}
