/* Bytes that go to and from sockets without passing through this process's memory. */
#define _GNU_SOURCE
#include "CSocket.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <time.h>
#include <unistd.h>

int csocket_set_nonblocking(int socket, int is_nonblocking) {
    /* As F_SETFL does it, without having to ask for the other flags. */
    return ioctl(socket, FIONBIO, &is_nonblocking) < 0 ? -errno : 0;
}

int64_t csocket_send_file(int socket, int is_nonblocking, int file, int64_t offset, size_t count) {
    int error = is_nonblocking ? 0 : csocket_set_nonblocking(socket, 1);
    if (error < 0)
        return error;
    ssize_t n;
    off_t position = offset;
    do {
        n = sendfile(socket, file, &position, count);
    } while (n < 0 && errno == EINTR);
    int64_t result = n < 0 ? -errno : n;
    if (!is_nonblocking)
        csocket_set_nonblocking(socket, 0);
    return result;
}

int csocket_pipe(int ends[2], size_t capacity, size_t capacity_min) {
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
        return -errno;
    if (fcntl(ends[1], F_SETPIPE_SZ, (int)capacity) >= 0 || fcntl(ends[1], F_GETPIPE_SZ) >= (int)capacity_min)
        return 0;
    close(ends[0]);
    close(ends[1]);
    return -EPERM;
}

static int64_t splice_some(int from, int to, size_t count) {
    ssize_t n;
    do {
        n = splice(from, NULL, to, NULL, count, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

int csocket_may_splice(void) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
        return 0;
    /* Out of an empty pipe into itself: -EINVAL says no worse than that. */
    int64_t result = splice_some(ends[0], ends[1], 1);
    close(ends[0]);
    close(ends[1]);
    return result == -EPERM || result == -EACCES || result == -ENOSYS ? (int)result : 0;
}

int64_t csocket_splice_in(int socket, int pipe, size_t count) {
    return splice_some(socket, pipe, count);
}

int64_t csocket_splice_out(int pipe, int socket, int is_nonblocking, size_t count) {
    /* Whether it waits for room goes by the socket's own flag, whatever splice(2)'s flags say. */
    int error = is_nonblocking ? 0 : csocket_set_nonblocking(socket, 1);
    if (error < 0)
        return error;
    int64_t result = splice_some(pipe, socket, count);
    if (!is_nonblocking)
        csocket_set_nonblocking(socket, 0);
    return result;
}

static void only_sigpipe(sigset_t *set) {
    sigemptyset(set);
    sigaddset(set, SIGPIPE);
}

int csocket_hold_sigpipe(void) {
    sigset_t set, before;
    only_sigpipe(&set);
    pthread_sigmask(SIG_BLOCK, &set, &before);
    return !sigismember(&before, SIGPIPE);
}

void csocket_release_sigpipe(void) {
    sigset_t set;
    only_sigpipe(&set);
    struct timespec now = {0};
    sigtimedwait(&set, NULL, &now);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}
