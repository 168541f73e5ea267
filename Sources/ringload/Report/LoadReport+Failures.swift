// What kept a run from being clean.
extension LoadReport {
    /// Each thing that makes the exit code 1, with its first cause and what to do about it; empty when all went well.
    var failures: [String] {
        var failures: [String] = []
        if let nothingMeasured { failures.append("nothing was measured: \(nothingMeasured)") }
        if tally.failed > 0, tally.opened > 0 {
            failures.append(
                "\(tally.failed) of \(tally.failed + tally.opened) attempts to connect failed: \(cause(.connecting))")
        }
        if tally.lost > 0 { failures.append("\(tally.lost) connections were lost: \(cause(.loss)): \(lossRemedy)") }
        if tally.verificationErrors > 0 {
            failures.append(
                "\(tally.verificationErrors) times other bytes came back than were sent: \(cause(.wrongBytes)): \(wrongBytesRemedy)"
            )
        }
        if tally.unanswered + tally.unansweredWarmup > 0 {
            failures.append(
                "\(cause(.silence)): see whether the server still runs and what it logs; if it is only slow, give it less load"
            )
        }
        if tally.skipped > 0 {
            failures.append(
                "the load was not offered: \(tally.skipped) of \(tally.due) messages that were due were not sent, since \(plan.depthMax) were "
                    + "unanswered on their connection or it was lost: \(paceRemedy)")
        }
        return failures
    }

    /// What a run that failed looks like; nil when it looks like nothing in particular.
    var hint: String? {
        guard !failures.isEmpty, isStrange else { return nil }
        return
            "is \(plan.target) an echo server? ringload wants back what it sends; one is started by: ringmaster echo --listen "
            + "\(plan.target)"
    }

    /// No connection had an answer that was right at its beginning.
    private var isStrange: Bool {
        if case .bulk(let direction, _) = plan.kind, direction != .echo { return false }
        let tried = isChurn ? tally.opened : min(tally.opened, plan.active)
        // In a churn some may have been cut short by the end.
        return tally.strangers > 0 && tally.strangers * 10 >= tried * 9
    }

    private func cause(_ fault: Tally.Fault) -> String { tally.causes[fault] ?? "no cause is known" }

    /// Why there is nothing to tell; nil when there is.
    private var nothingMeasured: String? {
        if tally.opened == 0, tally.failed > 0 { return "no connection was made: \(cause(.connecting))" }
        guard hasWindow else {
            if wasInterrupted {
                return
                    "it was interrupted before the measured phase began: let it run longer, or give a shorter --warmup"
            }
            return "no connection was left when the measured phase was to begin"
        }
        switch plan.kind {
        case .churn:
            guard tally.flow.connections == 0 else { return nil }
            return
                "no connection got as far as its end in \(Self.short(measuredSeconds)) s: give more --seconds, or fewer --messages"
        case .bulk(let direction, _):
            guard bytes == 0 else { return nil }
            return switch direction {
            case .echo:
                "no byte came back in \(Self.short(measuredSeconds)) s: give more --seconds, or look at what the server does"
            case .send: "the server took no byte in \(Self.short(measuredSeconds)) s: see whether it reads"
            case .receive:
                "no byte came from the server in \(Self.short(measuredSeconds)) s: give the --request that it waits for, more of it to send "
                    + "than the --warmup takes, or more --seconds"
            }
        case .open:
            // A crowd without anybody active is there to be there.
            guard messages == 0, plan.active > 0 else { return nil }
            if tally.due == 0 {
                return "no message was due in \(Self.short(measuredSeconds)) s: give more --seconds, or "
                    + (plan.isIdle ? "a shorter --interval" : "a higher --rate")
            }
        case .closed:
            guard messages == 0 else { return nil }
        }
        return
            "no message was answered in \(Self.short(measuredSeconds)) s: give more --seconds, or see whether the server still runs"
    }

    private var lossRemedy: String {
        if case .bulk(.receive, _) = plan.kind {
            return "a server that has sent all closes; ask it for more, give fewer --seconds, or see what it logs"
        }
        return "see what the server logs: its limits of time, of connections or of memory"
    }

    private var wrongBytesRemedy: String {
        "the server, or what is between, changes, loses or repeats bytes; --no-verify does without the comparison"
    }

    private var paceRemedy: String {
        (tally.late > 0
            ? "the server, or ringload itself (\(tally.late) were sent late), cannot keep up: "
            : "the server cannot keep up: ")
            + (plan.isIdle
                ? "give a longer --interval, or fewer --active"
                : "give a lower --rate, more --connections or a larger --backlog")
    }
}
