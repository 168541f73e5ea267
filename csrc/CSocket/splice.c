#define _GNU_SOURCE
#include "CSocket.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

int csocket_pipe(int ends[2], size_t capacity) {
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
        return -errno;
    if (fcntl(ends[1], F_SETPIPE_SZ, (int)capacity) >= 0)
        return 0;
    int code = errno;
    close(ends[0]);
    close(ends[1]);
    return -code;
}

/* splice(2) waits by the socket's own flag, whatever its flags argument says. */
static int64_t splice_without_waiting(int socket, int from, int to, size_t count) {
    int flags = fcntl(socket, F_GETFL);
    if (flags < 0 || fcntl(socket, F_SETFL, flags | O_NONBLOCK) < 0)
        return -errno;
    ssize_t n;
    do {
        n = splice(from, NULL, to, NULL, count, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    } while (n < 0 && errno == EINTR);
    int64_t result = n < 0 ? -errno : n;
    fcntl(socket, F_SETFL, flags);
    return result;
}

int64_t csocket_splice_in(int socket, int pipe, size_t count) {
    return splice_without_waiting(socket, socket, pipe, count);
}

int64_t csocket_splice_out(int pipe, int socket, size_t count) {
    /* There is no MSG_NOSIGNAL for it: the signal, which goes to the calling thread, is held back and taken.
     */
    sigset_t pipe_only, before;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
    int64_t result = splice_without_waiting(socket, pipe, socket, count);
    if (result != (int64_t)count) {
        struct timespec now = {0};
        sigtimedwait(&pipe_only, NULL, &now);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return result;
}
