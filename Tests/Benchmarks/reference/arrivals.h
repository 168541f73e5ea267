/* Connections that begin by the clock, at a fixed rate, whatever the server does. */
#ifndef ARRIVALS_H
#define ARRIVALS_H

#include "reference.h"

#include <fcntl.h>
#include <sys/epoll.h>

/* Closed by RST: nothing stays in TIME_WAIT, whose ports would run out. */
static int connect_to(const struct sockaddr_in *address) {
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket", errno);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    if (connect(fd, (const struct sockaddr *)address, sizeof *address) < 0 && errno != EINPROGRESS)
        die("connect", errno);
    return fd;
}

/* Waits for events until then, at most; -1: none. */
static int wait_until(int epoll, struct epoll_event *events, int most, int64_t then) {
    int64_t left = then - nanoseconds();
    struct timespec timeout = {.tv_sec = left > 0 ? left / 1000000000 : 0,
                               .tv_nsec = left > 0 ? left % 1000000000 : 0};
    int count = epoll_pwait2(epoll, events, most, &timeout, NULL);
    if (count < 0 && errno != EINTR)
        die("epoll_pwait2", errno);
    return count;
}

#endif
