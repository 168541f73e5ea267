/*
 * A closed loop against an echo server: each connection sends a message, waits until it has come back,
 * compares it and sends the next. Prints the number of messages echoed and the 99th percentile of the
 * microseconds that took; exit code 1 when one came back wrong.
 *
 * echo-load PORT CONNECTIONS BYTES MILLISECONDS
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct connection {
    int fd;
    size_t received;
    long sent_at; /* microseconds */
    unsigned char *message;
};

/* Messages by the microseconds they took; the last counts all that took longer. */
enum { SLOWEST = 1000000 };
static unsigned long took[SLOWEST + 1];

static size_t size;
static unsigned char *scratch;

static void die(const char *call) {
    perror(call);
    exit(1);
}

static long microseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static long percentile(unsigned long total, double part) {
    unsigned long seen = 0;
    long at = 0;
    while (at < SLOWEST && (double)(seen += took[at]) < part * (double)total)
        at++;
    return at;
}

/* Messages differ in their first bytes, so that one that went to another connection is noticed. */
static void send_next(struct connection *c, unsigned long number) {
    memcpy(c->message, &number, size < sizeof number ? size : sizeof number);
    c->received = 0;
    c->sent_at = microseconds();
    size_t sent = 0;
    while (sent < size) {
        ssize_t n = send(c->fd, c->message + sent, size - sent, MSG_NOSIGNAL);
        if (n < 0)
            die("send");
        sent += (size_t)n;
    }
}

int main(int argc, char **argv) {
    if (argc != 5)
        return 64;
    size_t count = (size_t)atol(argv[2]);
    size = (size_t)atol(argv[3]);
    struct connection *connections = calloc(count, sizeof *connections);
    scratch = malloc(size);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)atoi(argv[1])),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    unsigned long number = 0;
    for (size_t i = 0; i < count; i++) {
        struct connection *c = &connections[i];
        c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0)
            die("connect");
        int one = 1;
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event);
        c->message = malloc(size);
        memset(c->message, (int)(i & 0xff), size);
    }
    for (size_t i = 0; i < count; i++)
        send_next(&connections[i], ++number);
    unsigned long echoed = 0;
    long end = microseconds() + atol(argv[4]) * 1000;
    struct epoll_event events[256];
    while (microseconds() < end) {
        int ready = epoll_wait(epoll, events, 256, 1000);
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;
            ssize_t n = recv(c->fd, scratch, size - c->received, 0);
            if (n <= 0)
                die("recv");
            if (memcmp(scratch, c->message + c->received, (size_t)n) != 0) {
                fprintf(stderr, "a message came back wrong\n");
                return 1;
            }
            c->received += (size_t)n;
            if (c->received == size) {
                long spent = microseconds() - c->sent_at;
                took[spent < SLOWEST ? spent : SLOWEST]++;
                echoed++;
                send_next(c, ++number);
            }
        }
    }
    printf("%lu %ld\n", echoed, percentile(echoed, 0.99));
    return 0;
}
