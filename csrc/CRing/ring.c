#include <liburing.h>

#include "private.h"

#include <errno.h>

_Static_assert(sizeof(struct io_uring_sqe) == 64, "SQE128 is not used");
_Static_assert(sizeof(struct io_uring_cqe) == sizeof(struct cring_completion), "CQE32 is not used");
_Static_assert(offsetof(struct io_uring_cqe, user_data) == offsetof(struct cring_completion, user_data), "");
_Static_assert(offsetof(struct io_uring_cqe, res) == offsetof(struct cring_completion, result), "");
_Static_assert(offsetof(struct io_uring_cqe, flags) == offsetof(struct cring_completion, flags), "");
_Static_assert(CRING_COMPLETION_BUFFER == IORING_CQE_F_BUFFER, "");
_Static_assert(CRING_COMPLETION_MORE == IORING_CQE_F_MORE, "");
_Static_assert(CRING_COMPLETION_SOCKET_NONEMPTY == IORING_CQE_F_SOCK_NONEMPTY, "");
_Static_assert(CRING_COMPLETION_NOTIFICATION == IORING_CQE_F_NOTIF, "");
_Static_assert((int)CRING_COMPLETION_BUFFER_SHIFT == (int)IORING_CQE_BUFFER_SHIFT, "");
_Static_assert(CRING_SETUP_CQSIZE == IORING_SETUP_CQSIZE, "");
_Static_assert(CRING_SETUP_CLAMP == IORING_SETUP_CLAMP, "");
_Static_assert(CRING_SETUP_R_DISABLED == IORING_SETUP_R_DISABLED, "");
_Static_assert(CRING_SETUP_SUBMIT_ALL == IORING_SETUP_SUBMIT_ALL, "");
_Static_assert(CRING_SETUP_COOP_TASKRUN == IORING_SETUP_COOP_TASKRUN, "");
_Static_assert(CRING_SETUP_SINGLE_ISSUER == IORING_SETUP_SINGLE_ISSUER, "");
_Static_assert(CRING_SETUP_DEFER_TASKRUN == IORING_SETUP_DEFER_TASKRUN, "");
_Static_assert((int)CRING_OPCODE_NOP == (int)IORING_OP_NOP, "");
_Static_assert((int)CRING_OPCODE_POLL_ADD == (int)IORING_OP_POLL_ADD, "");
_Static_assert((int)CRING_OPCODE_SENDMSG == (int)IORING_OP_SENDMSG, "");
_Static_assert((int)CRING_OPCODE_ACCEPT == (int)IORING_OP_ACCEPT, "");
_Static_assert((int)CRING_OPCODE_ASYNC_CANCEL == (int)IORING_OP_ASYNC_CANCEL, "");
_Static_assert((int)CRING_OPCODE_CONNECT == (int)IORING_OP_CONNECT, "");
_Static_assert((int)CRING_OPCODE_SEND == (int)IORING_OP_SEND, "");
_Static_assert((int)CRING_OPCODE_RECV == (int)IORING_OP_RECV, "");
_Static_assert((int)CRING_OPCODE_SENDMSG_ZC == (int)IORING_OP_SENDMSG_ZC, "");

/* The thread sanitizer does not see liburing's own mmap(2) and munmap(2): where a ring's memory stood it
 * would take another ring's, on another thread, for the same. The kernel unmaps the one before it maps the
 * other. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
void __tsan_acquire(void *);
void __tsan_release(void *);
static char mappings;
#define MAPPED() __tsan_acquire(&mappings)
#define UNMAPPING() __tsan_release(&mappings)
#endif
#endif
#ifndef MAPPED
#define MAPPED()
#define UNMAPPING()
#endif

int cring_create(uint32_t setup_flags, uint32_t sq_entries, uint32_t cq_entries, struct cring **out) {
    struct cring *ring = calloc(1, sizeof *ring);
    if (ring == NULL)
        return -ENOMEM;
    struct io_uring_params params;
    memset(&params, 0, sizeof params);
    params.flags = setup_flags;
    params.cq_entries = cq_entries;
    int error = io_uring_queue_init_params(sq_entries, &ring->uring, &params);
    if (error < 0) {
        free(ring);
        return error;
    }
    MAPPED();
    *out = ring;
    return 0;
}

int cring_enable(struct cring *ring) {
    /* Not io_uring_enable_rings(): liburing 2.3 declares it and forgets to export it. */
    int error = io_uring_register((unsigned)ring->uring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
    if (error < 0)
        return error;
    return io_uring_register_ring_fd(&ring->uring) == 1;
}

void cring_destroy(struct cring *ring) {
    UNMAPPING();
    io_uring_queue_exit(&ring->uring);
    free(ring);
}

uint32_t cring_sq_entries(const struct cring *ring) {
    return ring->uring.sq.ring_entries;
}

uint32_t cring_cq_entries(const struct cring *ring) {
    return ring->uring.cq.ring_entries;
}

uint32_t cring_features(const struct cring *ring) {
    return ring->uring.features;
}

int cring_supports(struct cring *ring, uint8_t opcode) {
    struct io_uring_probe *probe = io_uring_get_probe_ring(&ring->uring);
    if (probe == NULL)
        return 0;
    int supported = io_uring_opcode_supported(probe, opcode);
    io_uring_free_probe(probe);
    return supported != 0;
}

int cring_limit_workers(struct cring *ring, uint32_t bounded, uint32_t unbounded) {
    unsigned int limits[2] = {bounded, unbounded};
    return io_uring_register_iowq_max_workers(&ring->uring, limits);
}

int cring_enter(struct cring *ring, int wait, int64_t timeout_nanoseconds) {
    int result;
    if (!wait) {
        /* GETEVENTS in any case: with DEFER_TASKRUN completions appear only inside such an enter. */
        result = io_uring_submit_and_get_events(&ring->uring);
    } else if (timeout_nanoseconds < 0) {
        result = io_uring_submit_and_wait(&ring->uring, 1);
    } else {
        struct __kernel_timespec timeout = {.tv_sec = timeout_nanoseconds / 1000000000,
                                            .tv_nsec = timeout_nanoseconds % 1000000000};
        struct io_uring_cqe *first = NULL;
        result = io_uring_submit_and_wait_timeout(&ring->uring, &first, 1, &timeout, NULL);
    }
    return result < 0 ? result : 0;
}

uint32_t cring_reap(struct cring *ring, struct cring_completion *out, uint32_t capacity) {
    struct io_uring_cq *cq = &ring->uring.cq;
    uint32_t head = *cq->khead;
    uint32_t ready = io_uring_smp_load_acquire(cq->ktail) - head;
    uint32_t count = ready < capacity ? ready : capacity;
    uint32_t start = head & cq->ring_mask;
    /* Up to the end of the queue, then from its beginning: the layouts agree. */
    uint32_t first = count < cq->ring_entries - start ? count : cq->ring_entries - start;
    memcpy(out, &cq->cqes[start], first * sizeof *out);
    memcpy(out + first, cq->cqes, (count - first) * sizeof *out);
    io_uring_cq_advance(&ring->uring, count);
    return count;
}

int cring_has_overflow(const struct cring *ring) {
    return io_uring_cq_has_overflow(&ring->uring);
}
