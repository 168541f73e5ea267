/*
 * What the epoll transport needs and Swift cannot say: epoll(7) with nanoseconds, timerfd(2), and the two
 * calls that take message headers. The attempts never block: -EAGAIN says that the call would have.
 */
#ifndef RINGMASTER_CSOCKET_EPOLL_H
#define RINGMASTER_CSOCKET_EPOLL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* <sys/socket.h> is left to the callers: each module that includes it gives Swift another copy of its
 * constants. */
struct msghdr;
struct sockaddr;

/* Edge-triggered: an event is told once, until something new happens. */
#define CSOCKET_EPOLLET 0x80000000u

/* The kernel's struct epoll_event with our own use of its 64 bits of data; packed on x86-64 only
 * (epoll_ctl(2)). */
struct csocket_event {
    uint32_t events; /* poll(2)'s bits */
#ifndef __x86_64__
    uint32_t padding;
#endif
    uint32_t slot;
    uint32_t generation;
};

/* epoll_create1(2), close-on-exec. */
int csocket_epoll_create(void);
/* EPOLL_CTL_ADD: -EEXIST (there already), -EPERM (a regular file), -ENOSPC (fs.epoll.max_user_watches),
 * -ENOMEM. */
int csocket_epoll_add(int epoll, int fd, uint32_t events, uint32_t slot, uint32_t generation);
/* EPOLL_CTL_DEL. */
int csocket_epoll_remove(int epoll, int fd);
/* epoll_wait(2): for ever with a negative timeout, not at all with 0, else so many nanoseconds by
 * epoll_pwait2(2) (Linux 5.11: -ENOSYS before, -EPERM under an old seccomp profile). */
int csocket_epoll_wait(int epoll, struct csocket_event *events, int capacity, int64_t timeout_nanoseconds);

/* timerfd_create(2) on the monotonic clock, close-on-exec, non-blocking. */
int csocket_timer_create(void);
/* Makes it readable at this moment, once (timerfd_settime(2), absolute). */
int csocket_timer_set(int timer, uint64_t nanoseconds);

/* recv(2) and send(2); a send raises no SIGPIPE. */
int64_t csocket_try_receive(int socket, void *bytes, size_t capacity);
int64_t csocket_try_send(int socket, const void *bytes, size_t length);
/* sendmsg(2), without SIGPIPE. */
int64_t csocket_try_send_message(int socket, const struct msghdr *message);
/* recvmsg(2) laid out as io_uring's multishot recvmsg does it: four 32-bit numbers (length of name, control
 * data and payload, flags), room for the name, room for control data, payload. Returns all the bytes that it
 * takes, the rooms included; *payload is the payload's part. -EFAULT when the buffer has no place for header
 * and rooms. */
int64_t csocket_try_receive_message(int socket, void *buffer, size_t capacity, uint32_t name_room,
                                    size_t control_room, uint32_t *payload);
/* connect(2) in non-blocking mode; the descriptor's own mode is restored. */
int csocket_try_connect(int socket, const struct sockaddr *address, uint32_t length);
/* poll(2) without waiting: which of the events hold now, with POLLERR, POLLHUP and POLLNVAL. */
int csocket_poll_now(int fd, uint32_t events);

#endif
