import Transport

/// A plan, carried out on a loop of the calling thread.
enum LoadProgram {
    /// Returns when the run has ended and its loop is gone. Blocks.
    static func run(
        _ plan: LoadPlan, interruption: Interruption? = nil, progress: @escaping (String) -> Void = Terminal.complain
    ) throws(LoadError) -> LoadReport {
        let loop: EventLoop
        do throws(SystemError) {
            loop = try EventLoop(plan.loopConfiguration)
        } catch {
            // The memory that a ring locks may have gone to another process since it was decided.
            let remedy = plan.transport.transport == .ioUring ? "; give --loop epoll, or raise RLIMIT_MEMLOCK" : ""
            throw LoadError(.system, "no event loop: \(error)\(remedy)")
        }
        do throws(SystemError) {
            var report: LoadReport?
            let run: LoadRun
            if case .bulk = plan.kind {
                run = BulkRun(loop, plan, progress: progress) { report = $0 }
            } else {
                run = MessageRun(loop, plan, progress: progress) { report = $0 }
            }
            // In the loop's first turn: a ring takes submissions when it runs.
            LoopTimer(loop) { run.start() }.arm(after: .zero)
            interruption?.watch(run)
            // Its connections and timers hold no reference to it.
            try withExtendedLifetime(run) { () throws(SystemError) -> Void in try loop.run() }
            guard let report else { throw SystemError("the loop ended before the run", code: 0) }
            return report
        } catch {
            throw LoadError(.system, "the event loop failed: \(error)")
        }
    }
}
