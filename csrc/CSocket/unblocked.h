/* Calls on a socket that know no MSG_DONTWAIT and no MSG_NOSIGNAL, such as sendfile(2) and splice(2). */
#ifndef RINGMASTER_UNBLOCKED_H
#define RINGMASTER_UNBLOCKED_H

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <time.h>

struct unblocked {
    sigset_t pipe_only, before;
};

/* Until unblocked_end the socket's open file description has O_NONBLOCK, and this thread holds SIGPIPE back.
 */
static inline int unblocked_begin(struct unblocked *call, int socket) {
    /* As F_SETFL does it, without having to ask for the other flags. */
    int nonblocking = 1;
    if (ioctl(socket, FIONBIO, &nonblocking) < 0)
        return -errno;
    sigemptyset(&call->pipe_only);
    sigaddset(&call->pipe_only, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &call->pipe_only, &call->before);
    return 0;
}

/* `may_have_failed`: a part may have gone before the error, which the kernel then keeps for the next call. */
static inline void unblocked_end(struct unblocked *call, int socket, bool may_have_failed) {
    if (may_have_failed) {
        struct timespec now = {0};
        sigtimedwait(&call->pipe_only, NULL, &now);
    }
    pthread_sigmask(SIG_SETMASK, &call->before, NULL);
    int nonblocking = 0;
    ioctl(socket, FIONBIO, &nonblocking);
}

#endif
