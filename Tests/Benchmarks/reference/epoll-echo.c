/*
 * The limit that Ringmaster's echo on epoll is held against: edge-triggered, one thread, one buffer, one recv
 * and one send per message; a short recv means drained (epoll(7)), so that no call is spent on EAGAIN. What a
 * peer does not take at once is kept for it, and nothing more is read from it until it has.
 *
 *   epoll-echo PORT [--buffer-size BYTES]
 *
 * Listens on 127.0.0.1.
 */
#define _GNU_SOURCE
#include "reference.h"

#include <getopt.h>
#include <sys/epoll.h>

/* What a peer did not take. */
struct rest {
    unsigned char *bytes;
    size_t length, sent;
};

static unsigned char *buffer;
static size_t buffer_size = 16 * 1024;
static struct rest *rests; /* by descriptor */

static void accept_all(int epoll, int listener) {
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        /* Writability alone wakes nobody who has not met EAGAIN: so it costs nothing to ask for it. */
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.fd = fd};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
            die("epoll_ctl", errno);
    }
    if (errno != EAGAIN)
        perror("accept4");
}

static void end(int fd) {
    free(rests[fd].bytes);
    rests[fd] = (struct rest){0};
    close(fd);
}

/* Sends what was kept. 1: all of it; 0: not yet; -1: the connection is over. */
static int send_rest(int fd) {
    struct rest *rest = &rests[fd];
    while (rest->sent < rest->length) {
        ssize_t n = send(fd, rest->bytes + rest->sent, rest->length - rest->sent, MSG_NOSIGNAL);
        if (n < 0)
            return errno == EAGAIN ? 0 : -1;
        rest->sent += (size_t)n;
    }
    free(rest->bytes);
    *rest = (struct rest){0};
    return 1;
}

static int keep(int fd, const unsigned char *bytes, size_t length) {
    rests[fd] = (struct rest){.bytes = malloc(length), .length = length};
    if (rests[fd].bytes == NULL)
        die("malloc", ENOMEM);
    memcpy(rests[fd].bytes, bytes, length);
    return send_rest(fd);
}

static void echo(int fd, uint32_t events) {
    if (rests[fd].bytes != NULL) {
        int state = send_rest(fd);
        if (state < 0)
            end(fd);
        if (state <= 0)
            return;
        events |= EPOLLRDHUP; /* what came meanwhile gave its edge already: read until EAGAIN */
    }
    for (;;) {
        ssize_t n = recv(fd, buffer, buffer_size, 0);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            end(fd);
            return;
        }
        ssize_t m = send(fd, buffer, (size_t)n, MSG_NOSIGNAL);
        if (m < 0 && errno != EAGAIN) {
            end(fd);
            return;
        }
        if (m < n) {
            size_t done = m < 0 ? 0 : (size_t)m;
            int state = keep(fd, buffer + done, (size_t)n - done);
            if (state < 0)
                end(fd);
            if (state <= 0)
                return;
            events |= EPOLLRDHUP;
        }
        if (n < (ssize_t)buffer_size && (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) == 0)
            return;
    }
}

int main(int argc, char **argv) {
    const struct option options[] = {{"buffer-size", required_argument, NULL, 'b'}, {0}};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option != 'b')
            return 64;
        buffer_size = number_option("--buffer-size", optarg, 1, 1 << 24);
    }
    if (optind + 1 != argc) {
        fprintf(stderr, "usage: epoll-echo PORT [--buffer-size BYTES]\n");
        return 64;
    }
    rests = calloc(raise_descriptor_limit(), sizeof *rests);
    buffer = malloc(buffer_size);
    if (rests == NULL || buffer == NULL)
        die("memory", ENOMEM);
    int listener = listen_on(number_option("PORT", argv[optind], 1, 65535), SOCK_NONBLOCK);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event events[256], event = {.events = EPOLLIN, .data.fd = listener};
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) < 0)
        die("epoll", errno);
    for (;;) {
        int count = epoll_wait(epoll, events, 256, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == listener)
                accept_all(epoll, listener);
            else
                echo(events[i].data.fd, events[i].events);
        }
    }
}
