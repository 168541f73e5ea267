/*
 * CRing: one io_uring per caller, through liburing. Set-up, SQE encoding, CQE batch reaping, buffer ring.
 *
 * No policy: which flags to try, how large a ring, what an error means is Swift's to decide. Every function
 * returns a value >= 0 or a negative errno, prints nothing, calls nothing back and allocates only in
 * *_create. A ring belongs to the thread that called cring_enable(); only cring_create() may run elsewhere
 * before that.
 *
 * <liburing.h> is not included here on purpose: swift-system exports its own copies of io_uring's structs,
 * and one Swift program cannot see both.
 */
#ifndef RINGMASTER_CRING_H
#define RINGMASTER_CRING_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* ---- User data ------------------------------------------------------------------------------------------
 * 64 bits that the kernel hands back with each completion: operation (8) | generation (24) | slot (32).
 * Never a pointer and never an fd: both are reused while completions are still on their way.
 * The operation is never 0, so neither is the whole: 0 in a completion is a defect.
 */
#define CRING_GENERATION_MAX 0xffffffu

static inline uint64_t cring_user_data(uint8_t operation, uint32_t generation, uint32_t slot) {
    return (uint64_t)operation << 56 | (uint64_t)(generation & CRING_GENERATION_MAX) << 32 | slot;
}

static inline uint8_t cring_user_data_operation(uint64_t user_data) {
    return (uint8_t)(user_data >> 56);
}

static inline uint32_t cring_user_data_generation(uint64_t user_data) {
    return (uint32_t)(user_data >> 32) & CRING_GENERATION_MAX;
}

static inline uint32_t cring_user_data_slot(uint64_t user_data) {
    return (uint32_t)user_data;
}

/* ---- Completions ----------------------------------------------------------------------------------------
 */

/* A CQE: the kernel's layout and flag bits (io_uring_enter(2)), asserted in ring.c. */
struct cring_completion {
    uint64_t user_data;
    int32_t result; /* >= 0, or a negative errno */
    uint32_t flags; /* CRING_COMPLETION_*; the buffer id in the upper 16 bits */
};

enum {
    CRING_COMPLETION_BUFFER = 1u << 0,          /* a provided buffer was used */
    CRING_COMPLETION_MORE = 1u << 1,            /* more completions of this operation follow */
    CRING_COMPLETION_SOCKET_NONEMPTY = 1u << 2, /* data was left in the socket */
    CRING_COMPLETION_NOTIFICATION = 1u << 3,    /* of a zero-copy send: its memory is free again (6.0) */
    CRING_COMPLETION_BUFFER_MORE = 1u << 4,     /* the provided buffer is not used up (6.12) */
    CRING_COMPLETION_BUFFER_SHIFT = 16,
};

/* ---- Set-up ---------------------------------------------------------------------------------------------
 */

struct cring; /* opaque: liburing's struct io_uring inside, at a stable address */

/* Set-up flags as io_uring_setup(2) names them; the values are asserted in ring.c. */
enum {
    CRING_SETUP_CQSIZE = 1u << 3,
    CRING_SETUP_CLAMP = 1u << 4,
    CRING_SETUP_R_DISABLED = 1u << 6,
    CRING_SETUP_SUBMIT_ALL = 1u << 7,     /* Linux 5.18 */
    CRING_SETUP_COOP_TASKRUN = 1u << 8,   /* 5.19 */
    CRING_SETUP_SINGLE_ISSUER = 1u << 12, /* 6.0 */
    CRING_SETUP_DEFER_TASKRUN = 1u << 13, /* 6.1 */
};

/* Operations that a probe can ask for, by the kernel's numbers (asserted in ring.c). */
enum {
    CRING_OPCODE_NOP = 0,
    CRING_OPCODE_POLL_ADD = 6,
    CRING_OPCODE_SENDMSG = 9,
    CRING_OPCODE_ACCEPT = 13,
    CRING_OPCODE_ASYNC_CANCEL = 14,
    CRING_OPCODE_CONNECT = 16,
    CRING_OPCODE_SEND = 26,
    CRING_OPCODE_RECV = 27,
    CRING_OPCODE_SENDMSG_ZC = 48, /* Linux 6.1 */
};

/*
 * Creates a ring with exactly these flags and at least this many entries (CLAMP lets the kernel lower them).
 * -EPERM: seccomp or kernel.io_uring_disabled; -ENOSYS: no io_uring; -EINVAL: a flag or size is unknown to
 * this kernel; -ENOMEM: RLIMIT_MEMLOCK; -EMFILE, -ENFILE: no descriptor left.
 */
int cring_create(uint32_t setup_flags, uint32_t sq_entries, uint32_t cq_entries, struct cring **out);

/* Enables a ring created R_DISABLED: the calling thread becomes its one issuer. Then registers the ring's own
 * descriptor (Linux 5.18), which makes each enter cheaper; returns 1 if that worked, 0 if the kernel refused
 * it. */
int cring_enable(struct cring *ring);

/* Unmaps and closes. The kernel cancels what is in flight, and may write to its buffers until that is done.
 */
void cring_destroy(struct cring *ring);

uint32_t cring_sq_entries(const struct cring *ring);
uint32_t cring_cq_entries(const struct cring *ring);
/* IORING_FEAT_* bits. */
uint32_t cring_features(const struct cring *ring);
/* 1 when the kernel knows the opcode, 0 when not (IORING_REGISTER_PROBE, Linux 5.6). */
int cring_supports(struct cring *ring, uint8_t opcode);
/* Caps the kernel's io-wq threads for this ring (Linux 5.15), in case an operation is ever punted to one. */
int cring_limit_workers(struct cring *ring, uint32_t bounded, uint32_t unbounded);

/* ---- Submission: each encodes one SQE. 0, or -EBUSY when the queue is full: enter, then try again. --------
 */

int cring_nop(struct cring *ring, uint64_t user_data);
/* Multishot accept (5.19); no peer address (one memory for many accepts): ask getpeername(2). Close-on-exec.
 */
int cring_accept_multishot(struct cring *ring, uint64_t user_data, int fd);
/* Receive into a buffer of the group, or with multishot (6.0) one after the other; polls first, so that an
 * empty group does not end it at once. A multishot ends by itself after `total_max` bytes or a little more,
 * if that is not 0 (6.17; before: -EINVAL). */
int cring_receive(struct cring *ring, uint64_t user_data, int fd, uint16_t buffer_group, int multishot,
                  uint32_t total_max);
/* MSG_NOSIGNAL | MSG_DONTWAIT: sends what there is room for; -EAGAIN when there is none. */
int cring_send(struct cring *ring, uint64_t user_data, int fd, const void *bytes, uint32_t length);
/* The same for a message header and all it points to, which must live until the completion. */
int cring_send_message(struct cring *ring, uint64_t user_data, int fd, const struct msghdr *message);
/* The same without copying; two completions, the second being the notification (6.1). */
int cring_send_message_zero_copy(struct cring *ring, uint64_t user_data, int fd,
                                 const struct msghdr *message);
/* Multishot receive of messages (6.0) into buffers of the group, each beginning with a header of four 32-bit
 * numbers: length of the name, of the control data, of the payload, and flags. `message` gives the room for
 * the first two, and must live until the terminal completion. */
int cring_receive_messages(struct cring *ring, uint64_t user_data, int fd, struct msghdr *message,
                           uint16_t buffer_group);
int cring_connect(struct cring *ring, uint64_t user_data, int fd, const struct sockaddr *address,
                  socklen_t length);
/* poll(2) events; multishot (5.13) fires at each edge. */
int cring_poll(struct cring *ring, uint64_t user_data, int fd, uint32_t events, int multishot);
/* Cancels the operation with that user data. Completes with 0, -ENOENT or -EALREADY; the target completes
 * too. */
int cring_cancel(struct cring *ring, uint64_t user_data, uint64_t target);

/* ---- Entering and reaping -------------------------------------------------------------------------------
 */

/*
 * Submits all, runs the ring's deferred work and, with `wait` not 0, waits for one completion: for ever with
 * a negative timeout, else that many nanoseconds. 0, or -ETIME, -EINTR, -EAGAIN (no memory for requests),
 * -EBUSY (completions have overflowed: reap, then enter again), -EBADR (one was lost: fatal). From another
 * thread than the issuer's: -EINVAL when the ring's own descriptor is registered, which is so per thread,
 * else -EEXIST.
 */
int cring_enter(struct cring *ring, int wait, int64_t timeout_nanoseconds);
/* Copies up to `capacity` completions to `out` and advances the head once. */
uint32_t cring_reap(struct cring *ring, struct cring_completion *out, uint32_t capacity);
/* Not 0: completions wait in the kernel because the completion queue was full; an enter brings them. */
int cring_has_overflow(const struct cring *ring);

/* ---- Buffer ring (5.19) ---------------------------------------------------------------------------------
 */

struct cring_buffers; /* opaque */

/*
 * Registers an empty ring of `entries` (a power of two, at most 32768) as group `group`. Buffer i, whatever
 * its number, is at base + i * stride: memory of the caller's that must outlive the ring. Incremental (6.12):
 * a receive takes only as many bytes of a buffer as it has, and the next one, of whatever socket, goes on
 * behind them. -ENOMEM: RLIMIT_MEMLOCK; -EINVAL: no buffer rings here, or no incremental ones.
 */
int cring_buffers_create(struct cring *ring, uint16_t group, uint32_t entries, int incremental, void *base,
                         uint32_t stride, struct cring_buffers **out);
/* Unregisters; nothing may be in flight that could still write to a buffer. */
void cring_buffers_destroy(struct cring *ring, struct cring_buffers *buffers);
/* Gives the kernel the first `length` bytes of each of these buffers, in this order, and publishes the tail
 * once. No more than `entries` may be the kernel's at once. */
void cring_buffers_give(struct cring_buffers *buffers, const uint16_t *ids, uint32_t count, uint32_t length);

#endif
