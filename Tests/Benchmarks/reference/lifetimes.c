/*
 * Opens connections at a fixed rate and keeps each open for as long as a Pareto distribution says: most
 * briefly, a few for very long. The same lifetimes each time. A line on standard output for each thousandth
 * part of the arrivals: how many there were, how many are open. At the end all are closed.
 *
 *   lifetimes PORT ARRIVALS RATE SHAPE SHORTEST-MILLISECONDS        exit code 1 when a connection was lost
 * before its time
 */
#define _GNU_SOURCE
#include "arrivals.h"

#include <math.h>

struct life {
    int64_t end;
    int fd;
};

/* A heap, the one that ends first at its top. */
static struct life *lives;
static size_t life_count;

static void push(struct life life) {
    size_t at = life_count++;
    for (; at > 0 && lives[(at - 1) / 2].end > life.end; at = (at - 1) / 2)
        lives[at] = lives[(at - 1) / 2];
    lives[at] = life;
}

static struct life pop(void) {
    struct life first = lives[0], last = lives[--life_count];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < life_count; at = child) {
        if (child + 1 < life_count && lives[child + 1].end < lives[child].end)
            child++;
        if (lives[child].end >= last.end)
            break;
        lives[at] = lives[child];
    }
    lives[at] = last;
    return first;
}

int main(int argc, char **argv) {
    if (argc != 6) {
        fprintf(stderr, "usage: lifetimes PORT ARRIVALS RATE SHAPE SHORTEST-MILLISECONDS\n");
        return 64;
    }
    struct sockaddr_in address = loopback(number_option("PORT", argv[1], 1, 65535));
    size_t total = number_option("ARRIVALS", argv[2], 1000, 10000000);
    int64_t gap = 1000000000 / (int64_t)number_option("RATE", argv[3], 1, 1000000);
    double shape = strtod(argv[4], NULL);
    double shortest = (double)number_option("SHORTEST-MILLISECONDS", argv[5], 1, 1000000) * 1e6;
    size_t open_max = raise_descriptor_limit() - 64, lost = 0;
    lives = calloc(open_max, sizeof *lives);
    if (lives == NULL || shape <= 0) {
        fprintf(stderr, "SHAPE must be above 0\n");
        return 64;
    }
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    srand48(6);
    int64_t start = nanoseconds();
    for (size_t begun = 0; begun < total;) {
        struct epoll_event events[64];
        int64_t due = start + (int64_t)begun * gap;
        int64_t next = life_count > 0 && lives[0].end < due ? lives[0].end : due;
        /* Nobody sends anything: an event is a connection's end, told once. */
        int count = wait_until(epoll, events, 64, next);
        for (int i = 0; i < count; i++)
            lost += (events[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
        int64_t now = nanoseconds();
        while (life_count > 0 && lives[0].end <= now)
            close(pop().fd);
        for (; begun < total && start + (int64_t)begun * gap <= now; begun++) {
            if (life_count == open_max) {
                fprintf(stderr,
                        "%zu connections are open, as many as RLIMIT_NOFILE allows: fewer, or shorter\n",
                        life_count);
                return 71;
            }
            double life = shortest * pow(1 - drand48(), -1 / shape);
            struct life next_life = {.fd = connect_to(&address),
                                     .end = life < 1e15 ? now + (int64_t)life : INT64_MAX};
            struct epoll_event event = {.events = EPOLLRDHUP | EPOLLET, .data.fd = next_life.fd};
            if (epoll_ctl(epoll, EPOLL_CTL_ADD, next_life.fd, &event) < 0)
                die("epoll_ctl", errno);
            push(next_life);
            if ((begun + 1) % (total / 1000) == 0) {
                printf("%zu %zu\n", begun + 1, life_count);
                fflush(stdout);
            }
        }
    }
    if (lost > 0)
        fprintf(stderr, "%zu connections were lost before their time\n", lost);
    return lost > 0;
}
