#define _GNU_SOURCE
#include "csocket_epoll.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

_Static_assert(sizeof(struct csocket_event) == sizeof(struct epoll_event), "");
_Static_assert(offsetof(struct csocket_event, slot) == offsetof(struct epoll_event, data), "");
_Static_assert(CSOCKET_EPOLLET == EPOLLET, "");
_Static_assert(EPOLLIN == POLLIN && EPOLLPRI == POLLPRI && EPOLLOUT == POLLOUT && EPOLLERR == POLLERR, "");
_Static_assert(EPOLLHUP == POLLHUP && EPOLLRDHUP == POLLRDHUP, "");

int csocket_epoll_create(void) {
    int fd = epoll_create1(EPOLL_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int csocket_epoll_add(int epoll, int fd, uint32_t events, uint32_t slot, uint32_t generation) {
    struct csocket_event event = {.events = events, .slot = slot, .generation = generation};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, (struct epoll_event *)&event) < 0 ? -errno : 0;
}

int csocket_epoll_remove(int epoll, int fd) {
    return epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL) < 0 ? -errno : 0;
}

int csocket_epoll_wait(int epoll, struct csocket_event *events, int capacity, int64_t timeout_nanoseconds) {
    long n;
    if (timeout_nanoseconds <= 0) {
        n = epoll_wait(epoll, (struct epoll_event *)events, capacity, timeout_nanoseconds < 0 ? -1 : 0);
    } else {
        struct timespec timeout = {.tv_sec = timeout_nanoseconds / 1000000000,
                                   .tv_nsec = timeout_nanoseconds % 1000000000};
        n = syscall(SYS_epoll_pwait2, epoll, events, capacity, &timeout, NULL, 0);
    }
    return n < 0 ? -errno : (int)n;
}

int csocket_timer_create(void) {
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

int csocket_timer_set(int timer, uint64_t nanoseconds) {
    struct itimerspec time = {.it_value = {.tv_sec = (time_t)(nanoseconds / 1000000000),
                                           .tv_nsec = (long)(nanoseconds % 1000000000)}};
    return timerfd_settime(timer, TFD_TIMER_ABSTIME, &time, NULL) < 0 ? -errno : 0;
}

int64_t csocket_try_receive(int socket, void *bytes, size_t capacity) {
    ssize_t n = recv(socket, bytes, capacity, MSG_DONTWAIT);
    return n < 0 ? -errno : n;
}

int64_t csocket_try_send(int socket, const void *bytes, size_t length) {
    ssize_t n = send(socket, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL);
    return n < 0 ? -errno : n;
}

int64_t csocket_try_send_message(int socket, const struct msghdr *message) {
    ssize_t n = sendmsg(socket, message, MSG_DONTWAIT | MSG_NOSIGNAL);
    return n < 0 ? -errno : n;
}

int64_t csocket_try_receive_message(int socket, void *buffer, size_t capacity, uint32_t name_room,
                                    size_t control_room, uint32_t *payload) {
    uint32_t header[4];
    size_t prefix = sizeof header + name_room + control_room;
    if (capacity < prefix)
        return -EFAULT;
    char *name = (char *)buffer + sizeof header;
    struct iovec iov = {.iov_base = (char *)buffer + prefix, .iov_len = capacity - prefix};
    struct msghdr message = {.msg_name = name_room > 0 ? name : NULL,
                             .msg_namelen = name_room,
                             .msg_control = control_room > 0 ? name + name_room : NULL,
                             .msg_controllen = control_room,
                             .msg_iov = &iov,
                             .msg_iovlen = 1};
    ssize_t n = recvmsg(socket, &message, MSG_DONTWAIT);
    if (n < 0)
        return -errno;
    header[0] = message.msg_namelen;
    header[1] = (uint32_t)message.msg_controllen;
    header[2] = (uint32_t)n;
    header[3] = (uint32_t)message.msg_flags;
    memcpy(buffer, header, sizeof header);
    *payload = (uint32_t)n;
    return (int64_t)prefix + n;
}

int csocket_try_connect(int socket, const struct sockaddr *address, uint32_t length) {
    int mode = fcntl(socket, F_GETFL);
    if (mode < 0)
        return -errno;
    if ((mode & O_NONBLOCK) == 0 && fcntl(socket, F_SETFL, mode | O_NONBLOCK) < 0)
        return -errno;
    int result = connect(socket, address, length) < 0 ? -errno : 0;
    if ((mode & O_NONBLOCK) == 0)
        (void)fcntl(socket, F_SETFL, mode);
    return result;
}

int csocket_poll_now(int fd, uint32_t events) {
    struct pollfd one = {.fd = fd, .events = (short)events};
    return poll(&one, 1, 0) < 0 ? -errno : one.revents;
}
