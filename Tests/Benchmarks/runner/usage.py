"""What processes use: CPU time by their clocks, memory by smaps_rollup."""

import os
import time
from bisect import bisect_right

# Which clock of a process (the kernel's include/linux/posix-timers.h). The same counters as in /proc/PID/stat, in
# nanoseconds instead of ticks: user and system time as the tick finds them, and the scheduler's own sum, which is exact.
_PROF, _VIRT, _SCHED = 0, 1, 2


def _clock(pid, kind):
    # The id that clock_getcpuclockid(3) makes.
    return time.clock_gettime_ns((~pid << 3) | kind)


def processor_time(pids):
    """Nanoseconds of CPU of these processes together since each began: all, of it in user space, and the sum that the
    share of user space is taken of."""
    found = [tuple(_clock(pid, kind) for kind in (_SCHED, _VIRT, _PROF)) for pid in pids]
    return tuple(sum(column) for column in zip(*found))


def split(before, after):
    """User and system nanoseconds between two answers of processor_time: the exact sum, shared out as the ticks say."""
    total, user, both = (b - a for a, b in zip(before, after))
    share = user / both if both > 0 else 0.0
    return total * share, total * (1 - share)


class Sampler:
    """Looks at processes now and then, so that a window that is known only afterwards can be told."""

    def __init__(self, pids):
        self.pids = pids
        self.times, self.values = [], []

    def look(self):
        """Call it from time to time."""
        self.times.append(time.monotonic_ns())
        self.values.append(processor_time(self.pids))

    def at(self, moment):
        """What processor_time would have said then, by the looks before and after."""
        index = bisect_right(self.times, moment)
        if not 0 < index < len(self.times):
            raise ValueError("that moment was not looked at")
        (t0, t1), (a, b) = self.times[index - 1:index + 1], self.values[index - 1:index + 1]
        part = (moment - t0) / (t1 - t0)
        return tuple(x + (y - x) * part for x, y in zip(a, b))


def parse_rollup(text):
    """Bytes by name, of what /proc/PID/smaps_rollup says (proc(5))."""
    found = {}
    for line in text.splitlines()[1:]:
        name, _, rest = line.partition(":")
        found[name] = int(rest.split()[0]) * 1024
    return found


def memory(pids):
    """Bytes of memory of these processes together, shared pages counted once."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            total += parse_rollup(file.read())["Pss"]
    return total


def processors():
    """The CPUs that we may use."""
    return sorted(os.sched_getaffinity(0))
