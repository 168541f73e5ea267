#define _GNU_SOURCE
#include "CSocket.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

int csocket_open_beneath(int directory, const char *path) {
    struct open_how how = {
        /* A FIFO must not wait for its writer. */
        .flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    long fd = syscall(SYS_openat2, directory, path, &how, sizeof how);
    return fd < 0 ? -errno : (int)fd;
}

int64_t csocket_read_at(int file, const struct iovec *vector, int64_t offset, int waits) {
    ssize_t count = preadv2(file, vector, 1, offset, waits ? 0 : RWF_NOWAIT);
    return count < 0 ? -errno : count;
}
