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
            return answer(command, .refused(reason))
        }
        logger.info("upgrade: checking the new program", metadata: ["path": "\(setup.programPath)"])
        do {
            // As it is now, so that the check can read it: the real one is made when nothing moves any more.
            let preview = try image(command).seal()
            defer { close(preview) }
            check = try ProgramCheck(
                loop, setup.launcher, path: setup.programPath, image: preview, ended: { [unowned self] in reap() },
                finished: { [unowned self] in checked($0, command) })
        } catch {
            refuseUpgrade("\(error)", command)
        }
    }

    private var noUpgrade: String? {
        if check != nil || arrival != nil || isGivingUp { return "an upgrade is under way" }
        if preparation != nil || isReading { return "a reload is under way" }
        return state.canFreeze
    }

    private func refuseUpgrade(_ reason: String, _ command: CommandID?) {
        logger.error("upgrade refused: the old program goes on", metadata: ["reason": "\(reason)"])
        answer(command, .refused(reason))
        nextReload()
    }

    private func checked(_ problem: String?, _ command: CommandID?) {
        if let reason = problem ?? noUpgrade { return refuseUpgrade(reason, command) }
        giveUp { [unowned self] in
            refuseUpgrade(becomeNext(command), command)
        }
    }

    /// Stops accepting, has what was accepted delivered, then calls `body`, and accepts again if that returns.
    private func giveUp(_ body: @escaping () -> Void) {
        isGivingUp = true
        listeners.giveUp { [unowned self] in
            // Not within a completion: others of the same batch, accepts of other listeners among them, come first.
            loop.executeAtEndOfTurn { [unowned self] in
                feedArrivals()
                body()
                isGivingUp = false
                listeners.takeBack()
            }
        }
    }

    /// Returns, with the reason, only if it failed.
    private func becomeNext(_ command: CommandID?) -> String {
        // Between the check and now a worker may have died, or the supervisor been told to stop.
        if let reason = state.canFreeze { return reason }
        do {
            let image = try image(command)
            let descriptor = try image.seal()
            defer { close(descriptor) }
            logger.info("upgrade: the new program takes over")
            let inherited = image.descriptors + [descriptor]
            for number in inherited { _ = fcntl(number, F_SETFD, 0) }
            let code = setup.launcher.replaceSelf(
                setup.programPath, adding: "\(UpgradeImage.variable)=\(descriptor)")
            for number in inherited { _ = fcntl(number, F_SETFD, FD_CLOEXEC) }
            return "execve \(setup.programPath): \(String(cString: strerror(code)))"
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
            programPath: setup.programPath, returned: nil)
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
            sockets.hold(
                SocketStore.Held(
                    record: ConnectionRecord(listener: held.listener, peer: held.peer, acceptedAt: held.acceptedAt),
                    descriptors: held.descriptors, state: held.state.map(Array.init)))
        }
        listeners.take(image.listeners, idNext: image.listenerIDNext)
        configurations = image.configurations
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
            logger.error("upgrade: going back to the old program", metadata: ["reason": "\(reason)"])
            returnReason = reason
            returnAttempts = 0
            tryUpgrade()
            return true
        }
    }

    private static let returnInterval: Duration = .milliseconds(100)
    /// A minute's.
    private static let returnAttemptsMax = 600

    /// Goes back as soon as the state can be frozen.
    func tryUpgrade() {
        guard let reason = returnReason, let arrival else { return }
        returnAttempts += 1
        guard state.canFreeze == nil || returnAttempts > Self.returnAttemptsMax else {
            return upgradeTimer?.arm(after: Self.returnInterval) ?? ()
        }
        giveUp { [unowned self] in
            var problem = state.canFreeze
            if problem == nil {
                do {
                    var image = try image(arrival.command)
                    image.formerProgram = arrival.formerProgram
                    (image.arguments, image.environment) = (arrival.arguments, arrival.environment)
                    image.programPath = arrival.programPath
                    problem = image.giveBack(reason: reason)
                } catch {
                    problem = "\(error)"
                }
            }
            // Still here: this program's supervisor goes on with the old workers.
            logger.critical("upgrade: no way back to the old program", metadata: ["error": "\(problem ?? "")"])
            returnReason = nil
            self.arrival = nil
            answer(arrival.command, .failed(reason))
            nextReload()
        }
    }
}
