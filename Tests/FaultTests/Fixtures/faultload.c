/*
 * Load for fault injection: connections to an echo server on 127.0.0.1 that compare every byte that comes
 * back, and tell of each one that failed when and how.
 *
 *   faultload churn|hold|bulk PORT [NAME=NUMBER]...
 *
 * churn: connections come and go. Each sends `messages` messages, one when the one before is back, says FIN
 * and waits for the server's.
 *
 * hold: `connections` stay. Each sends a message every `interval` milliseconds (0: one at first and one at
 * the end).
 *
 * bulk: `connections` send `bytes` each, without waiting for what comes back.
 *
 * With `reopen`, those of hold and bulk that have ended or failed are begun again.
 *
 * A connection is a stream of numbered blocks of `size` bytes, each with the connection's number in it, so
 * that bytes that went astray, came twice or out of order are noticed. On SIGUSR1 it prints a summary; on
 * SIGTERM, or after `seconds`, it starts nothing more, lets everything come back, and ends with the final
 * summary.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum mode { CHURN, HOLD, BULK };
enum state { FREE, CONNECTING, OPEN, FINISHING };

/* How a connection failed. A FIN counts as `eof` when an answer was due, and as `closed` when none was. */
enum failure { REFUSED, RESET, EOF_EARLY, CLOSED, TIMEOUT, WRONG, EXTRA, FAILURES };
static const char *const failure_names[FAILURES] = {"refused", "reset", "eof",  "closed",
                                                    "timeout", "wrong", "extra"};

struct connection {
    enum state state;
    int fd;
    uint64_t number;
    /* Bytes: how many may be sent so far, were sent, came back. */
    uint64_t goal, sent, received;
    /* When it last got on, in milliseconds. */
    long touched;
    struct list *list;
    struct connection *previous, *next;
};

/* In the order in which they were touched, oldest first. */
struct list {
    struct connection *first, *last;
};

static struct options {
    long connections, rate, total, messages, size, interval, bytes, timeout, seconds, sources, reopen;
} options = {
    .connections = 256, .messages = 1, .size = 64, .bytes = 1 << 20, .timeout = 30000, .sources = 16};

static struct counts {
    uint64_t started, live, resting, completed, messages, bytes, unavailable, failed[FAILURES];
    long longest;
} counts;

static enum mode mode;
static bool stopping;
static int epoll_fd;
static struct sockaddr_in server = {.sin_family = AF_INET};
static struct connection *connections;
/* Those with something due from the server, and those that rest until their next message. */
static struct list waiting, resting, unused;
static unsigned char filler[1 << 17], scratch[1 << 16], expected[1 << 16];
static long now, began;

static void die(const char *call) {
    perror(call);
    exit(1);
}

static long milliseconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static void leave(struct connection *c) {
    if (!c->list)
        return;
    *(c->previous ? &c->previous->next : &c->list->first) = c->next;
    *(c->next ? &c->next->previous : &c->list->last) = c->previous;
    if (c->list == &resting)
        counts.resting--;
    c->list = NULL;
}

static void enter(struct connection *c, struct list *list) {
    leave(c);
    c->touched = now;
    c->list = list;
    c->previous = list->last;
    c->next = NULL;
    *(list->last ? &list->last->next : &list->first) = c;
    list->last = c;
    if (list == &resting)
        counts.resting++;
}

/* The bytes of a connection from `offset` on, at most `room` of them and not beyond the block's end. */
static size_t write_pattern(const struct connection *c, uint64_t offset, unsigned char *to, size_t room) {
    uint64_t header[2] = {c->number, offset / (uint64_t)options.size};
    size_t begin = offset % (uint64_t)options.size, count = (size_t)options.size - begin, done = 0;
    if (count > room)
        count = room;
    while (done < count && begin + done < sizeof header) {
        to[done] = ((unsigned char *)header)[begin + done];
        done++;
    }
    memcpy(to + done, filler + (header[0] * 31 + header[1] * 7) % 65521 + (begin + done), count - done);
    return count;
}

static size_t write_patterns(const struct connection *c, uint64_t offset, unsigned char *to, size_t count) {
    size_t done = 0;
    while (done < count)
        done += write_pattern(c, offset + done, to + done, count - done);
    return count;
}

static void finish(struct connection *c) {
    close(c->fd);
    c->state = FREE;
    counts.live--;
    enter(c, &unused);
}

static const uint64_t failures_listed_max = 1000;

static void fail(struct connection *c, enum failure failure, int code) {
    static uint64_t listed;
    counts.failed[failure]++;
    if (listed++ < failures_listed_max) {
        struct sockaddr_in local = {0};
        socklen_t length = sizeof local;
        getsockname(c->fd, (struct sockaddr *)&local, &length);
        printf("{\"event\":\"failure\",\"class\":\"%s\",\"milliseconds\":%ld,\"local\":\"%s:%d\","
               "\"connection\":%llu,"
               "\"received\":%llu,\"errno\":%d}\n",
               failure_names[failure], now - began, inet_ntoa(local.sin_addr), ntohs(local.sin_port),
               (unsigned long long)c->number, (unsigned long long)c->received, code);
        fflush(stdout);
    }
    finish(c);
}

static void fail_with(struct connection *c, int code) {
    enum failure failure = code == ETIMEDOUT ? TIMEOUT : c->state == CONNECTING ? REFUSED : RESET;
    fail(c, failure, code);
}

static void send_more(struct connection *c) {
    while (c->sent < c->goal) {
        size_t count = c->goal - c->sent < sizeof scratch ? (size_t)(c->goal - c->sent) : sizeof scratch;
        ssize_t sent = send(c->fd, scratch, write_patterns(c, c->sent, scratch, count), MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno != EAGAIN)
                fail_with(c, errno);
            return;
        }
        c->sent += (uint64_t)sent;
        if ((size_t)sent < count)
            return;
    }
}

static void say_fin(struct connection *c) {
    c->state = FINISHING;
    enter(c, &waiting);
    if (shutdown(c->fd, SHUT_WR) < 0)
        fail_with(c, errno);
}

static void ask(struct connection *c) {
    c->goal += (uint64_t)options.size;
    enter(c, &waiting);
    send_more(c);
}

/* Everything that was sent has come back. */
static void answered(struct connection *c) {
    switch (mode) {
    case CHURN:
        if (c->goal < (uint64_t)(options.messages * options.size))
            return ask(c);
        return say_fin(c);
    case BULK:
        return say_fin(c);
    case HOLD:
        if (stopping)
            return say_fin(c);
        return enter(c, &resting);
    }
}

static void take(struct connection *c, size_t count) {
    if (count > c->sent - c->received)
        return fail(c, EXTRA, 0);
    write_patterns(c, c->received, expected, count);
    if (memcmp(scratch, expected, count) != 0)
        return fail(c, WRONG, 0);
    if (now - c->touched > counts.longest)
        counts.longest = now - c->touched;
    uint64_t size = (uint64_t)options.size;
    counts.messages += (c->received + count) / size - c->received / size;
    counts.bytes += count;
    c->received += count;
    if (c->received == c->goal)
        answered(c);
    else
        enter(c, &waiting);
}

static void receive_more(struct connection *c, bool at_end) {
    uint64_t number = c->number;
    while (c->state != FREE && c->number == number) {
        ssize_t count = recv(c->fd, scratch, sizeof scratch, 0);
        if (count < 0) {
            if (errno != EAGAIN)
                fail_with(c, errno);
            return;
        }
        if (count == 0) {
            if (c->state != FINISHING)
                return fail(c, c->received < c->goal ? EOF_EARLY : CLOSED, 0);
            counts.completed++;
            return finish(c);
        }
        take(c, (size_t)count);
        if ((size_t)count < sizeof scratch && !at_end)
            return;
    }
}

static void handle(struct connection *c, uint32_t events) {
    if (c->state == FREE)
        return;
    if (c->state == CONNECTING) {
        int code = 0;
        socklen_t length = sizeof code;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &code, &length);
        if (code != 0)
            return fail_with(c, code);
        if (!(events & EPOLLOUT))
            return;
        c->state = OPEN;
        /* It was to stop before it had begun. */
        if (c->goal == 0)
            return say_fin(c);
    }
    uint64_t number = c->number;
    if (events & EPOLLOUT)
        send_more(c);
    if (c->state != FREE && c->number == number && events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        receive_more(c, events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR));
}

/*
 * Less than the kernel would give. Where a peer is stopped while tens of megabytes are on their way, Linux
 * (seen on 6.18: RcvPruned and BeyondWindow of nstat(8) count it) prunes what it had made room for, and the
 * two ends then drop each other's segments, acknowledgements and all, for minutes: a connection that no
 * program's fault has lost.
 */
static void bound_buffers(int fd) {
    int bytes = 1 << 20;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
}

/* A new connection, from a source address of its own turn: one address has 28,000 ports. */
static bool start(void) {
    struct connection *c = unused.first;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    if (fd < 0) {
        counts.unavailable++;
        return false;
    }
    struct sockaddr_in source = {.sin_family = AF_INET};
    source.sin_addr.s_addr =
        htonl(INADDR_LOOPBACK + 256 + (uint32_t)(counts.started % (uint64_t)options.sources));
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (mode == BULK)
        bound_buffers(fd);
    if (bind(fd, (struct sockaddr *)&source, sizeof source) < 0)
        die("bind");
    int failed = connect(fd, (struct sockaddr *)&server, sizeof server) < 0 ? errno : 0;
    if (failed == EADDRNOTAVAIL) {
        close(fd);
        counts.unavailable++;
        return false;
    }
    *c = (struct connection){.state = CONNECTING,
                             .fd = fd,
                             .number = ++counts.started,
                             .list = &unused,
                             .previous = c->previous,
                             .next = c->next};
    c->goal = (uint64_t)(mode == BULK ? options.bytes : options.size);
    enter(c, &waiting);
    counts.live++;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        die("epoll_ctl");
    if (failed != 0 && failed != EINPROGRESS)
        fail_with(c, failed);
    return true;
}

/* Starts what is due, some at a time. What could not be started in time is not made up for. */
static void start_due(void) {
    static double credit;
    static long before;
    const int per_turn_max = 256;
    if (before == 0)
        before = now;
    credit += (double)options.rate * (double)(now - before) / 1000;
    before = now;
    if (credit > (double)options.rate / 10 + 1)
        credit = (double)options.rate / 10 + 1;
    for (int i = 0; i < per_turn_max && unused.first; i++) {
        if (options.total > 0 && counts.started >= (uint64_t)options.total)
            return;
        if (options.rate > 0 && credit < 1)
            return;
        credit -= 1;
        if (!start())
            return;
    }
}

static void tick(void) {
    while (waiting.first && now - waiting.first->touched >= options.timeout)
        fail(waiting.first, TIMEOUT, 0);
    while (resting.first &&
           (stopping || (options.interval > 0 && now - resting.first->touched >= options.interval)))
        ask(resting.first);
}

static void stop(void) {
    if (stopping)
        return;
    stopping = true;
    if (mode != BULK)
        return;
    for (struct connection *c = waiting.first, *next; c; c = next) {
        next = c->next;
        c->goal = c->sent;
        if (c->state == OPEN && c->received == c->goal)
            say_fin(c);
    }
}

static void summarise(bool final) {
    printf("{\"event\":\"summary\",\"final\":%s,\"milliseconds\":%ld,\"started\":%llu,\"live\":%llu,"
           "\"resting\":%llu,"
           "\"completed\":%llu,\"messages\":%llu,\"bytes\":%llu,\"unavailable\":%llu,\"longest\":%ld",
           final ? "true" : "false", now - began, (unsigned long long)counts.started,
           (unsigned long long)counts.live, (unsigned long long)counts.resting,
           (unsigned long long)counts.completed, (unsigned long long)counts.messages,
           (unsigned long long)counts.bytes, (unsigned long long)counts.unavailable, counts.longest);
    for (int i = 0; i < FAILURES; i++)
        printf(",\"%s\":%llu", failure_names[i], (unsigned long long)counts.failed[i]);
    printf("}\n");
    fflush(stdout);
}

static void take_signals(int fd) {
    struct signalfd_siginfo info;
    while (read(fd, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGUSR1)
            summarise(false);
        else
            stop();
    }
}

static void run(int signals) {
    struct epoll_event events[512];
    while (!stopping || counts.live > 0) {
        int count = epoll_wait(epoll_fd, events, 512, 1);
        now = milliseconds();
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr)
                handle(events[i].data.ptr, events[i].events);
            else
                take_signals(signals);
        }
        if (options.seconds > 0 && now - began >= options.seconds * 1000)
            stop();
        if (!stopping)
            start_due();
        tick();
    }
}

static void usage(void) {
    fprintf(stderr, "usage: faultload churn|hold|bulk PORT [NAME=NUMBER]...\n");
    exit(64);
}

static void read_option(char *text) {
    const struct {
        const char *name;
        long *value;
    } known[] = {{"connections", &options.connections},
                 {"rate", &options.rate},
                 {"total", &options.total},
                 {"messages", &options.messages},
                 {"size", &options.size},
                 {"interval", &options.interval},
                 {"bytes", &options.bytes},
                 {"timeout", &options.timeout},
                 {"seconds", &options.seconds},
                 {"sources", &options.sources},
                 {"reopen", &options.reopen}};
    char *equals = strchr(text, '='), *end;
    for (size_t i = 0; equals && i < sizeof known / sizeof *known; i++) {
        if (strlen(known[i].name) != (size_t)(equals - text) ||
            strncmp(known[i].name, text, (size_t)(equals - text)))
            continue;
        *known[i].value = strtol(equals + 1, &end, 10);
        if (*end == 0 && end != equals + 1)
            return;
    }
    usage();
}

int main(int argc, char **argv) {
    if (argc < 3)
        usage();
    mode = !strcmp(argv[1], "churn") ? CHURN : !strcmp(argv[1], "hold") ? HOLD : BULK;
    if (mode == BULK && strcmp(argv[1], "bulk"))
        usage();
    server.sin_port = htons((uint16_t)atoi(argv[2]));
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 3; i < argc; i++)
        read_option(argv[i]);
    if (options.size < 16 || options.size > 65536 || options.connections < 1 || options.sources < 1)
        usage();
    if (mode != CHURN && options.reopen == 0)
        options.total = options.connections;

    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, signals, &event) < 0)
        die("epoll_ctl");
    uint32_t random = 1;
    for (size_t i = 0; i < sizeof filler; i++) {
        random = random * 1664525 + 1013904223;
        filler[i] = (unsigned char)(random >> 24);
    }
    connections = calloc((size_t)options.connections, sizeof *connections);
    now = began = milliseconds();
    for (long i = 0; i < options.connections; i++)
        enter(&connections[i], &unused);
    /* From here on signals do what they are for. */
    printf("{\"event\":\"begun\"}\n");
    fflush(stdout);
    run(signals);
    now = milliseconds();
    summarise(true);
    return 0;
}
