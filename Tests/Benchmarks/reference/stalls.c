/*
 * How long this machine holds up a thread that has a CPU to itself: interrupts, and a hypervisor that has
 * something else to run. It does nothing but look at the clock, and prints percentiles of how long one would
 * have waited who came at any time, in microseconds, as JSON. No server on that CPU can have better ones.
 *
 *   stalls MILLISECONDS        run it under taskset(1)
 */
#define _GNU_SOURCE
#include "reference.h"

/* Looks at the clock are 30 ns apart. What is shorter than this is no stall; and how many are kept. */
enum { STALL_NS = 2000, STALLS_MAX = 1 << 20 };

static int64_t stalls[STALLS_MAX];
static size_t count;

/* Nanoseconds, of all, in which one would have to wait longer than that. */
static int64_t time_worse_than(int64_t wait) {
    int64_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += stalls[i] > wait ? stalls[i] - wait : 0;
    return sum;
}

/* The shortest wait that at most this share of all times exceeds, to a nanosecond. */
static int64_t percentile(double worse, int64_t total, int64_t greatest) {
    int64_t low = 0, high = greatest;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if ((double)time_worse_than(middle) <= worse * (double)total)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: stalls MILLISECONDS\n");
        return 64;
    }
    int64_t total = (int64_t)number_option("MILLISECONDS", argv[1], 1, 3600000) * 1000000;
    int64_t start = nanoseconds(), last = start, greatest = 0;
    while (last - start < total) {
        int64_t now = nanoseconds(), gap = now - last;
        if (gap >= STALL_NS) {
            if (count == STALLS_MAX)
                die("more stalls than are kept", EOVERFLOW);
            stalls[count++] = gap;
            greatest = gap > greatest ? gap : greatest;
        }
        last = now;
    }
    total = last - start;
    printf("{\"stalls\": %zu, \"p50\": %.3f, \"p99\": %.3f, \"p99.9\": %.3f, \"max\": %.3f}\n", count,
           (double)percentile(0.5, total, greatest) / 1e3, (double)percentile(0.01, total, greatest) / 1e3,
           (double)percentile(0.001, total, greatest) / 1e3, (double)greatest / 1e3);
    return 0;
}
