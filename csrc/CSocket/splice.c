#define _GNU_SOURCE
#include "CSocket.h"
#include "unblocked.h"

#include <fcntl.h>
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
static int64_t splice_unblocked(int socket, int from, int to, size_t count) {
    struct unblocked call;
    int error = unblocked_begin(&call, socket);
    if (error < 0)
        return error;
    ssize_t n;
    do {
        n = splice(from, NULL, to, NULL, count, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    } while (n < 0 && errno == EINTR);
    int64_t result = n < 0 ? -errno : n;
    unblocked_end(&call, socket, to == socket && result != (int64_t)count);
    return result;
}

int64_t csocket_splice_in(int socket, int pipe, size_t count) {
    return splice_unblocked(socket, socket, pipe, count);
}

int64_t csocket_splice_out(int pipe, int socket, size_t count) {
    return splice_unblocked(socket, pipe, socket, count);
}
