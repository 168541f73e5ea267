/*
 * Connects at a fixed rate to HandoffServer, which says on each connection how many nanoseconds it took from
 * accept to the worker's service, and prints their percentiles as JSON.
 *
 *   handoff-client PORT RATE SECONDS        exit code 1 when a connection told nothing
 */
#define _GNU_SOURCE
#include "arrivals.h"

static int compare(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: handoff-client PORT RATE SECONDS\n");
        return 64;
    }
    struct sockaddr_in address = loopback(number_option("PORT", argv[1], 1, 65535));
    unsigned long rate = number_option("RATE", argv[2], 1, 1000000);
    unsigned long seconds = number_option("SECONDS", argv[3], 1, 3600);
    size_t total = rate * seconds, begun = 0, told = 0, lost = 0;
    uint64_t *took = calloc(total, sizeof *took);
    if (took == NULL)
        die("memory", ENOMEM);
    raise_descriptor_limit();
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event events[256];
    int64_t start = nanoseconds(), gap = 1000000000 / (int64_t)rate;
    int64_t end = start + (int64_t)seconds * 1000000000 + 5000000000;
    while (told + lost < total && nanoseconds() < end) {
        int64_t due = begun < total ? start + (int64_t)begun * gap : end;
        int count = wait_until(epoll, events, 256, due);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            uint64_t answer;
            if (recv(fd, &answer, sizeof answer, 0) == sizeof answer)
                took[told++] = answer;
            else
                lost++;
            close(fd);
        }
        for (; begun < total && start + (int64_t)begun * gap <= nanoseconds(); begun++) {
            struct epoll_event event = {.events = EPOLLIN, .data.fd = connect_to(&address)};
            if (epoll_ctl(epoll, EPOLL_CTL_ADD, event.data.fd, &event) < 0)
                die("epoll_ctl", errno);
        }
    }
    double elapsed = (double)(nanoseconds() - start) / 1e9;
    qsort(took, told, sizeof *took, compare);
    double parts[] = {0.5, 0.9, 0.99, 0.999};
    printf("{\"connections\": %zu, \"lost\": %zu, \"seconds\": %.3f", told, total - told, elapsed);
    for (int i = 0; i < 4 && told > 0; i++)
        printf(", \"p%g\": %.3f", parts[i] * 100,
               (double)took[(size_t)(parts[i] * (double)(told - 1))] / 1000);
    printf(", \"max\": %.3f}\n", told > 0 ? (double)took[told - 1] / 1000 : 0);
    return told < total;
}
