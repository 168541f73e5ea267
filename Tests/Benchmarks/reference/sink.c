/*
 * Takes all that comes and drops it without copying it (MSG_TRUNC, tcp(7)): the end of a proxied stream, so
 * that little but the proxy costs anything. One thread.
 *
 *   sink PORT
 */
#define _GNU_SOURCE
#include "reference.h"

#include <sys/epoll.h>

enum { MOST = 1 << 20 };

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: sink PORT\n");
        return 64;
    }
    raise_descriptor_limit();
    int listener = listen_on(number_option("PORT", argv[1], 1, 65535), SOCK_NONBLOCK);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event events[64], event = {.events = EPOLLIN, .data.fd = listener};
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) < 0)
        die("epoll", errno);
    for (;;) {
        int count = epoll_wait(epoll, events, 64, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                event.data.fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
                if (event.data.fd >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, event.data.fd, &event) < 0)
                    die("epoll_ctl", errno);
                continue;
            }
            ssize_t n = recv(fd, NULL, MOST, MSG_TRUNC);
            if (n == 0 || (n < 0 && errno != EAGAIN))
                close(fd);
        }
    }
}
