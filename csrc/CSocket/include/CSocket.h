/*
 * CSocket: the few socket and process calls that Swift cannot express: CMSG_* macros, posix_spawn with
 * inherited descriptors, and Linux calls that the Glibc module map leaves out.
 *
 * Every function returns a value >= 0 or a negative errno, prints nothing and keeps no state.
 */
#ifndef RINGMASTER_CSOCKET_H
#define RINGMASTER_CSOCKET_H

#include "csocket_datagram.h"
#include "csocket_epoll.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Linux refuses more descriptors than SCM_MAX_FD (253) in one message; a hand-off packet carries at most
 * this. */
enum { CSOCKET_FDS_PER_MESSAGE_MAX = 16 };

/* One message received with its descriptors. */
struct csocket_message {
    int64_t length;    /* payload bytes; 0 is end of file */
    uint32_t fd_count; /* descriptors now open in this process, all close-on-exec; the caller owns them */
    uint32_t fds_truncated; /* not 0: the kernel dropped descriptors (MSG_CTRUNC, unix(7)) */
    uint32_t truncated;     /* not 0: the payload did not fit (MSG_TRUNC) */
    int fds[CSOCKET_FDS_PER_MESSAGE_MAX];
};

/*
 * Send `length` (>= 1) bytes with `fd_count` (<= CSOCKET_FDS_PER_MESSAGE_MAX) descriptors as one message.
 * Never blocks and raises no SIGPIPE: -EAGAIN when the socket is full, -ETOOMANYREFS when too many
 * descriptors of this user are in flight (unix(7)). The descriptors stay open here.
 */
int64_t csocket_send(int socket, const void *bytes, size_t length, const int *fds, uint32_t fd_count);

/* Receive one message without blocking into `bytes`. 0, or -errno (-EAGAIN: nothing there). */
int csocket_receive(int socket, void *bytes, size_t capacity, struct csocket_message *message);

/*
 * sendfile(2): sends up to `count` bytes of `file` from `offset` on, without moving the file's position. 0:
 * the file ends there. Does not block on the socket (-EAGAIN): unless its open file description has
 * O_NONBLOCK already (`is_nonblocking`), it has it during the call. Does block while the disk is read. -EPIPE
 * comes with SIGPIPE: see csocket_hold_sigpipe.
 */
int64_t csocket_send_file(int socket, int is_nonblocking, int file, int64_t offset, size_t count);

/*
 * pipe2(2), close-on-exec, non-blocking: ends[0] is to be read. Has pages for `capacity` bytes, or as many as
 * the kernel gives by itself; -EPERM when those are fewer than `capacity_min` bytes, since this user has too
 * much in pipes (pipe-user-pages-soft, pipe(7)).
 */
int csocket_pipe(int ends[2], size_t capacity, size_t capacity_min);
/* 0 when this process may call splice(2), or a negative errno: a seccomp filter or a sandbox. */
int csocket_may_splice(void);
/* O_NONBLOCK on the socket's open file description, or not. 0, or -errno. */
int csocket_set_nonblocking(int socket, int is_nonblocking);
/*
 * splice(2): moves up to `count` bytes from a socket, which has O_NONBLOCK (it would wait for bytes
 * otherwise, whatever splice(2)'s flags say), into an empty pipe. 0: the socket's input has ended. -EAGAIN:
 * there is nothing, or urgent data come next (tcp(7)).
 */
int64_t csocket_splice_in(int socket, int pipe, size_t count);
/* The other way, out of a pipe that holds `count` bytes at least: does not block, and signals, as
 * csocket_send_file does. */
int64_t csocket_splice_out(int pipe, int socket, int is_nonblocking, size_t count);

/*
 * Holds SIGPIPE back in the calling thread, for the calls that have no MSG_NOSIGNAL. 1; 0 when it is held
 * back already. A process that is spawned by the thread inherits that (posix_spawn(3) can undo it).
 */
int csocket_hold_sigpipe(void);
/* Takes what has been held back, and holds back no more. */
void csocket_release_sigpipe(void);

/* poll(2)'s POLLRDHUP, which needs _GNU_SOURCE: the peer has shut down its writing side. */
enum { CSOCKET_POLLRDHUP = 0x2000 };

/* Who is at the other end of a Unix-domain socket (struct ucred). */
struct csocket_credentials {
    pid_t pid;
    uid_t uid;
    gid_t gid;
};

/* SO_PEERCRED (unix(7)). 0, or -errno: -ENOTCONN on a socket without such a peer, for which Linux invents
 * one. */
int csocket_peer_credentials(int socket, struct csocket_credentials *credentials);

/* accept4(2), close-on-exec: the descriptor, or -errno. Retries EINTR. */
int csocket_accept(int socket);

/* SOCK_SEQPACKET pair, close-on-exec both. socketpair(2). */
int csocket_seqpacket_pair(int pair[2]);

/* eventfd(2), close-on-exec, non-blocking. */
int csocket_eventfd(void);
/* Adds 1 to the eventfd. -EAGAIN (the counter is full: a wake-up is certainly pending) is reported as
 * success. */
int csocket_eventfd_signal(int fd);
/* Takes the counter back to 0. */
int csocket_eventfd_drain(int fd);

/* Names the calling thread, as ps(1) and debuggers show it: 15 bytes, the rest is cut. prctl(2). */
int csocket_name_thread(const char *name);

/*
 * Blocks the given signals in the calling thread and returns a signalfd(2), close-on-exec, for them. Call it
 * before any other thread exists, since a thread inherits the mask of its creator.
 */
int csocket_signalfd(const int *signals, size_t count);
/* The next signal waiting in the signalfd: its number, or -EAGAIN. */
int csocket_signalfd_next(int fd);

/*
 * From now on SIGABRT, before it ends the process, has the frames of the thread that it hits written to
 * descriptor 2. backtrace(3), which is called once here since its first call loads a library.
 */
int csocket_backtrace_on_abort(void);

/* memfd_create(2), close-on-exec, of the given size, and sealed against shrinking and growing (F_ADD_SEALS).
 */
int csocket_memfd(const char *name, size_t size);

/* memfd_create(2), close-on-exec, filled with these bytes and sealed against every change. */
int csocket_memfd_sealed(const char *name, const void *bytes, size_t size);
/*
 * The size of a memfd sealed as csocket_memfd_sealed seals it. -EINVAL when the descriptor is anything else.
 * Never blocks, whatever the descriptor is.
 */
int64_t csocket_memfd_sealed_size(int fd);

/* pidfd_open(2), Linux 5.3. The descriptor is close-on-exec and becomes readable when the process ends. */
int csocket_pidfd_open(pid_t pid);

/*
 * Spawns `path` with posix_spawn(3) (never a bare fork). fds[i] becomes descriptor fd_first+i of the child
 * (fd_first <= 3), those below are inherited, every higher one is closed. The child has default signal
 * dispositions, an empty signal mask and a process group of its own, so that a terminal's Ctrl-C reaches the
 * parent only.
 */
int csocket_spawn(const char *path, char *const argv[], char *const envp[], int fd_first, const int *fds,
                  uint32_t fd_count, pid_t *pid);

/*
 * Opens a file to be read that lies beneath `directory`, by whatever path: no `..` and no symbolic link leads
 * out of it (-EXDEV). openat2(2), Linux 5.6; -ENOSYS or -EPERM where that is not allowed. Waits for nobody.
 */
int csocket_open_beneath(int directory, const char *path);

/*
 * preadv2(2) with one vector: reads from `offset` on, without the file's position. `waits` 0: only what the
 * page cache has (RWF_NOWAIT), -EAGAIN when it has nothing there, -EOPNOTSUPP on a file system that cannot
 * tell. Returns bytes, 0 at the end of the file, or -errno.
 */
struct iovec;
int64_t csocket_read_at(int file, const struct iovec *vector, int64_t offset, int waits);

#endif
