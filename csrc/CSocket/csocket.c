#define _GNU_SOURCE
#include "CSocket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

_Static_assert(CSOCKET_FDS_PER_MESSAGE_MAX <= 253, "SCM_MAX_FD");

_Static_assert(CSOCKET_POLLRDHUP == POLLRDHUP, "");

/* Aligned room for the control message that carries the descriptors. */
union control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(CSOCKET_FDS_PER_MESSAGE_MAX * sizeof(int))];
};

int64_t csocket_send(int socket, const void *bytes, size_t length, const int *fds, uint32_t fd_count) {
    if (length == 0 || fd_count > CSOCKET_FDS_PER_MESSAGE_MAX)
        return -EINVAL;
    struct iovec iov = {.iov_base = (void *)bytes, .iov_len = length};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    union control control;
    if (fd_count > 0) {
        memset(&control, 0, sizeof control);
        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
        memcpy(CMSG_DATA(c), fds, fd_count * sizeof(int));
    }
    ssize_t n;
    do {
        n = sendmsg(socket, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

int csocket_receive(int socket, void *bytes, size_t capacity, struct csocket_message *message) {
    struct iovec iov = {.iov_base = bytes, .iov_len = capacity};
    union control control;
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof control.bytes};
    ssize_t n;
    do {
        n = recvmsg(socket, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    memset(message, 0, sizeof *message);
    if (n < 0)
        return -errno;
    message->length = n;
    message->truncated = (msg.msg_flags & MSG_TRUNC) != 0;
    message->fds_truncated = (msg.msg_flags & MSG_CTRUNC) != 0;
    /* Other control messages may appear (6.17 posts SCM_INQ unasked): only SCM_RIGHTS is looked at. */
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c != NULL; c = CMSG_NXTHDR(&msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || c->cmsg_len < CMSG_LEN(0))
            continue;
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof fd);
            if (message->fd_count < CSOCKET_FDS_PER_MESSAGE_MAX)
                message->fds[message->fd_count++] = fd;
            else
                close(fd);
        }
    }
    return 0;
}

int csocket_peer_credentials(int socket, struct csocket_credentials *credentials) {
    struct ucred peer;
    socklen_t length = sizeof peer;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0)
        return -errno;
    if (peer.uid == (uid_t)-1)
        return -ENOTCONN;
    *credentials = (struct csocket_credentials){.pid = peer.pid, .uid = peer.uid, .gid = peer.gid};
    return 0;
}

int csocket_accept(int socket) {
    int fd;
    do {
        fd = accept4(socket, NULL, NULL, SOCK_CLOEXEC);
    } while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : fd;
}

int csocket_seqpacket_pair(int pair[2]) {
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0 ? -errno : 0;
}

int csocket_eventfd(void) {
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

int csocket_eventfd_signal(int fd) {
    uint64_t one = 1;
    ssize_t n;
    do {
        n = write(fd, &one, sizeof one);
    } while (n < 0 && errno == EINTR);
    return n < 0 && errno != EAGAIN ? -errno : 0;
}

int csocket_eventfd_drain(int fd) {
    uint64_t value;
    ssize_t n;
    do {
        n = read(fd, &value, sizeof value);
    } while (n < 0 && errno == EINTR);
    return n < 0 && errno != EAGAIN ? -errno : 0;
}

int csocket_signalfd(const int *signals, size_t count) {
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < count; i++)
        sigaddset(&set, signals[i]);
    int error = pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (error != 0)
        return -error;
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

int csocket_signalfd_next(int fd) {
    struct signalfd_siginfo info;
    ssize_t n;
    do {
        n = read(fd, &info, sizeof info);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    return n == (ssize_t)sizeof info ? (int)info.ssi_signo : -EIO;
}

int csocket_memfd(const char *name, size_t size) {
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    if (ftruncate(fd, (off_t)size) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

enum { SEALS_AGAINST_CHANGE = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL };

int csocket_memfd_sealed(const char *name, const void *bytes, size_t size) {
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    size_t written = 0;
    while (written < size) {
        ssize_t n = write(fd, (const char *)bytes + written, size - written);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            break;
        written += (size_t)n;
    }
    if (written < size || fcntl(fd, F_ADD_SEALS, SEALS_AGAINST_CHANGE) < 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

int64_t csocket_memfd_sealed_size(int fd) {
    /* The seals come first: they say that it is a file in memory. fstat(2) of another file may wait for a
     * file server, for ever if that is what its sender wants. */
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0)
        return -errno;
    if ((seals & SEALS_AGAINST_CHANGE) != SEALS_AGAINST_CHANGE)
        return -EINVAL;
    struct stat status;
    return fstat(fd, &status) < 0 ? -errno : status.st_size;
}

int csocket_pidfd_open(pid_t pid) {
    long fd = syscall(SYS_pidfd_open, pid, 0);
    return fd < 0 ? -errno : (int)fd;
}

int csocket_spawn(const char *path, char *const argv[], char *const envp[], int fd_first, const int *fds,
                  uint32_t fd_count, pid_t *pid) {
    if (fd_first < 0 || fd_first > 3 || fd_count > CSOCKET_FDS_PER_MESSAGE_MAX)
        return -EINVAL;
    /* Copies above the target range first: dup2 onto it must not overwrite a source still to be copied. */
    int sources[CSOCKET_FDS_PER_MESSAGE_MAX];
    uint32_t copied = 0;
    int error = 0;
    for (; copied < fd_count; copied++) {
        sources[copied] = fcntl(fds[copied], F_DUPFD_CLOEXEC, fd_first + (int)fd_count);
        if (sources[copied] < 0) {
            error = errno;
            break;
        }
    }
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    for (uint32_t i = 0; i < fd_count && error == 0; i++)
        error = posix_spawn_file_actions_adddup2(&actions, sources[i], fd_first + (int)i);
    if (error == 0)
        error = posix_spawn_file_actions_addclosefrom_np(&actions, fd_first + (int)fd_count);
    if (error == 0) {
        sigset_t none, all;
        sigemptyset(&none);
        sigfillset(&all);
        posix_spawnattr_setsigmask(&attributes, &none);
        posix_spawnattr_setsigdefault(&attributes, &all);
        posix_spawnattr_setpgroup(&attributes, 0);
        posix_spawnattr_setflags(&attributes,
                                 POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
        error = posix_spawn(pid, path, &actions, &attributes, argv, envp);
    }
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    for (uint32_t i = 0; i < copied; i++)
        close(sources[i]);
    return -error;
}
