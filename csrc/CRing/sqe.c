/* One encoder per operation. liburing's prep helpers fill the fields; the flags and their reasons stand here.
 */
#include <liburing.h>

#include "private.h"

#include <errno.h>

/* io_uring_get_sqe() without what this library never sets up: SQPOLL, 128-byte entries. Which of an entry's
 * fields io_uring_prep_*() sets depends on liburing's version: newer ones leave flags, ioprio, rw_flags,
 * buf_group and others to io_uring_get_sqe(). So all of it is cleared here: the slot's former operation may
 * have set them. */
static inline struct io_uring_sqe *next_sqe(struct cring *ring) {
    struct io_uring_sq *sq = &ring->uring.sq;
    if (sq->sqe_tail - *sq->khead >= sq->ring_entries)
        return NULL;
    struct io_uring_sqe *sqe = &sq->sqes[sq->sqe_tail++ & sq->ring_mask];
    memset(sqe, 0, sizeof *sqe);
    return sqe;
}

#define GET_SQE_OR_BUSY(ring, sqe)                                                                           \
    struct io_uring_sqe *sqe = next_sqe(ring);                                                               \
    if (sqe == NULL)                                                                                         \
    return -EBUSY

/* DONTWAIT: a send that finds no room completes with -EAGAIN. Left to the kernel it would wait by a poll of
 * its own, and after 128 of those in a thread of io-wq, which it blocks (APOLL_MAX_RETRY, io_uring/poll.c). A
 * peer that has sent FIN brings that about at once, since POLLRDHUP then ends each of those polls: a few who
 * do not read would use up the threads, and hold up everybody else who has sent FIN. */
#define SEND_FLAGS (MSG_NOSIGNAL | MSG_DONTWAIT)

int cring_nop(struct cring *ring, uint64_t user_data) {
    GET_SQE_OR_BUSY(ring, sqe);
    io_uring_prep_nop(sqe);
    sqe->user_data = user_data;
    return 0;
}

int cring_accept_multishot(struct cring *ring, uint64_t user_data, int fd) {
    GET_SQE_OR_BUSY(ring, sqe);
    io_uring_prep_multishot_accept(sqe, fd, NULL, NULL, SOCK_CLOEXEC);
    sqe->user_data = user_data;
    return 0;
}

int cring_receive(struct cring *ring, uint64_t user_data, int fd, uint16_t buffer_group, int multishot,
                  uint32_t total_max) {
    GET_SQE_OR_BUSY(ring, sqe);
    if (multishot)
        io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
    else
        io_uring_prep_recv(sqe, fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = buffer_group;
    /* sqe->optlen in the headers since 6.17: the same 32 bits. */
    sqe->file_index = total_max;
    /* Of a multishot only the first shot polls first; later ones run after a poll anyway. */
    sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
    sqe->user_data = user_data;
    return 0;
}

int cring_send(struct cring *ring, uint64_t user_data, int fd, const void *bytes, uint32_t length) {
    GET_SQE_OR_BUSY(ring, sqe);
    io_uring_prep_send(sqe, fd, bytes, length, SEND_FLAGS);
    sqe->user_data = user_data;
    return 0;
}

int cring_send_message(struct cring *ring, uint64_t user_data, int fd, const struct msghdr *message) {
    GET_SQE_OR_BUSY(ring, sqe);
    io_uring_prep_sendmsg(sqe, fd, message, SEND_FLAGS);
    sqe->user_data = user_data;
    return 0;
}

int cring_send_message_zero_copy(struct cring *ring, uint64_t user_data, int fd,
                                 const struct msghdr *message) {
    GET_SQE_OR_BUSY(ring, sqe);
    io_uring_prep_sendmsg_zc(sqe, fd, message, SEND_FLAGS);
    sqe->user_data = user_data;
    return 0;
}

int cring_receive_messages(struct cring *ring, uint64_t user_data, int fd, struct msghdr *message,
                           uint16_t buffer_group) {
    GET_SQE_OR_BUSY(ring, sqe);
    io_uring_prep_recvmsg_multishot(sqe, fd, message, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = buffer_group;
    sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
    sqe->user_data = user_data;
    return 0;
}

int cring_connect(struct cring *ring, uint64_t user_data, int fd, const struct sockaddr *address,
                  socklen_t length) {
    GET_SQE_OR_BUSY(ring, sqe);
    io_uring_prep_connect(sqe, fd, address, length);
    sqe->user_data = user_data;
    return 0;
}

int cring_poll(struct cring *ring, uint64_t user_data, int fd, uint32_t events, int multishot) {
    GET_SQE_OR_BUSY(ring, sqe);
    if (multishot)
        io_uring_prep_poll_multishot(sqe, fd, events);
    else
        io_uring_prep_poll_add(sqe, fd, events);
    sqe->user_data = user_data;
    return 0;
}

int cring_cancel(struct cring *ring, uint64_t user_data, uint64_t target) {
    GET_SQE_OR_BUSY(ring, sqe);
    io_uring_prep_cancel64(sqe, target, 0);
    sqe->user_data = user_data;
    return 0;
}
