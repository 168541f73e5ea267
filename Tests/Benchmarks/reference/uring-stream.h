/*
 * What the io_uring references do with bytes: one ring, one ring of receive buffers, and streams. A stream
 * receives from one socket by a multishot receive and sends each buffer, as it is, to another (an echo: to
 * the same), in order, one send at a time; a buffer goes back to the kernel when all of it has been sent.
 * Nothing is copied.
 *
 * A stream that gets no buffer waits in a queue until some come back: so a peer that does not read, for long
 * enough, stops all of them. These are yardsticks, not servers.
 */
#ifndef URING_STREAM_H
#define URING_STREAM_H

#include "reference.h"

#include <liburing.h>
#include <stdbool.h>
#include <sys/mman.h>

enum operation { RECEIVE = 1, SEND, ACCEPT, CONNECT, CLOSE };

enum { NONE = -1, GROUP = 0 };

struct stream {
    int out;            /* the socket that is sent to */
    int32_t head, tail; /* buffers to be sent, by their numbers, or NONE; the head is in the send at work */
    uint32_t sent;      /* bytes of the head */
    bool receiving;     /* a receive is with the kernel, or waits for buffers */
    bool starved;       /* it waits */
    bool ended;         /* no more will be received */
    bool failed;        /* nothing more can be sent */
};

static struct io_uring ring;
static struct stream *streams; /* by the descriptor that is received from */
static int *starved; /* descriptors of streams that wait for buffers: a queue, as long as descriptors */
static size_t descriptors, starved_first, starved_count;

static struct io_uring_buf_ring *buffer_ring;
static unsigned char *memory;
static int32_t *next_buffer;    /* in its stream's queue */
static uint32_t *buffer_length; /* bytes received into it */
static uint32_t buffer_count = 256, buffer_size = 4096, buffers_free;
static int buffers_given; /* since the kernel was told last */

/* Called when a stream has received its end or failed and has sent all that it can: once for each. */
static void stream_ended(int fd);

/* Called with what is neither a receive's nor a send's completion. */
static void completed(enum operation operation, int fd, const struct io_uring_cqe *cqe);

static inline struct io_uring_sqe *get_sqe(enum operation operation, int fd) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
    if (sqe == NULL) {
        int error = io_uring_submit(&ring);
        if (error < 0)
            die("io_uring_submit", -error);
        sqe = io_uring_get_sqe(&ring);
    }
    /* The prep functions leave user_data alone. */
    sqe->user_data = (uint64_t)operation << 32 | (uint32_t)fd;
    return sqe;
}

static inline void give_buffer(int32_t buffer) {
    io_uring_buf_ring_add(buffer_ring, memory + (size_t)buffer * buffer_size, buffer_size, (uint16_t)buffer,
                          io_uring_buf_ring_mask(buffer_count), buffers_given++);
    buffers_free++;
}

static inline void receive(int fd) {
    struct io_uring_sqe *sqe = get_sqe(RECEIVE, fd);
    io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = GROUP;
    /* Else a receive that is armed while there is no buffer ends at once (liburing#1275). */
    sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
}

static inline void start_stream(int in, int out) {
    streams[in] = (struct stream){.out = out, .head = NONE, .tail = NONE, .receiving = true};
    receive(in);
}

/*
 * The kernel itself goes on with what is left of a short send (MSG_WAITALL): the cheapest way, and none for a
 * server, since a send that has waited often enough is moved to a kernel thread and blocks it there.
 * Ringmaster sends with MSG_DONTWAIT.
 */
static inline void send_head(int in, struct stream *stream) {
    struct io_uring_sqe *sqe = get_sqe(SEND, in);
    io_uring_prep_send(sqe, stream->out, memory + (size_t)stream->head * buffer_size + stream->sent,
                       buffer_length[stream->head] - stream->sent, MSG_NOSIGNAL | MSG_WAITALL);
}

static inline void drop_head(struct stream *stream) {
    int32_t buffer = stream->head;
    stream->head = next_buffer[buffer];
    stream->sent = 0;
    give_buffer(buffer);
}

static inline void end_if_done(int in, const struct stream *stream) {
    if (stream->ended && !stream->receiving && stream->head == NONE)
        stream_ended(in);
}

static inline void received(int in, const struct io_uring_cqe *cqe) {
    struct stream *stream = &streams[in];
    if ((cqe->flags & IORING_CQE_F_BUFFER) != 0) {
        int32_t buffer = (int32_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
        buffers_free--;
        if (cqe->res <= 0) {
            give_buffer(buffer);
        } else if (stream->failed) {
            /* A multishot receive that has taken the last bytes of a socket that was reset waits for one more
             * wake-up to see the end (Linux 6.18: only FIN sets SOCK_DONE, which tcp_inq_hint() looks at). */
            give_buffer(buffer);
            shutdown(in, SHUT_RDWR);
        } else {
            buffer_length[buffer] = (uint32_t)cqe->res;
            next_buffer[buffer] = NONE;
            if (stream->head == NONE) {
                stream->head = stream->tail = buffer;
                send_head(in, stream);
            } else {
                next_buffer[stream->tail] = buffer;
                stream->tail = buffer;
            }
        }
    }
    if ((cqe->flags & IORING_CQE_F_MORE) != 0)
        return;
    if (cqe->res > 0) {
        receive(in); /* the kernel ends a multishot when it likes */
    } else if (cqe->res == -ENOBUFS) {
        stream->starved = true;
        starved[(starved_first + starved_count++) % descriptors] = in;
    } else {
        stream->receiving = false;
        stream->ended = true;
        stream->failed = stream->failed || cqe->res < 0;
        end_if_done(in, stream);
    }
}

static inline void sent(int in, int result) {
    struct stream *stream = &streams[in];
    if (result <= 0) {
        stream->failed = true;
        while (stream->head != NONE)
            drop_head(stream);
        /* Ends the receive, if it is not over already. */
        shutdown(in, SHUT_RDWR);
        end_if_done(in, stream);
        return;
    }
    stream->sent += (uint32_t)result;
    if (stream->sent == buffer_length[stream->head])
        drop_head(stream);
    if (stream->head != NONE)
        send_head(in, stream);
    else
        end_if_done(in, stream);
}

static inline void close_socket(int fd) {
    io_uring_prep_close(get_sqe(CLOSE, fd), fd);
}

static inline void accept_on(int listener) {
    io_uring_prep_multishot_accept(get_sqe(ACCEPT, listener), listener, NULL, NULL, SOCK_CLOEXEC);
}

/* Tells the kernel of the buffers that came back, and lets as many streams receive as there are. */
static inline void return_buffers(void) {
    if (buffers_given > 0) {
        io_uring_buf_ring_advance(buffer_ring, buffers_given);
        buffers_given = 0;
    }
    for (uint32_t count = buffers_free; count > 0 && starved_count > 0; count--) {
        int in = starved[starved_first];
        starved_first = (starved_first + 1) % descriptors;
        starved_count--;
        streams[in].starved = false;
        receive(in);
    }
}

static void set_up(unsigned sq_entries, unsigned cq_entries) {
    descriptors = raise_descriptor_limit();
    streams = calloc(descriptors, sizeof *streams);
    starved = calloc(descriptors, sizeof *starved);
    next_buffer = calloc(buffer_count, sizeof *next_buffer);
    buffer_length = calloc(buffer_count, sizeof *buffer_length);
    size_t ring_size = buffer_count * sizeof(struct io_uring_buf);
    buffer_ring = mmap(NULL, ring_size, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
    memory = mmap(NULL, (size_t)buffer_count * buffer_size, PROT_READ | PROT_WRITE,
                  MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
    if (streams == NULL || starved == NULL || next_buffer == NULL || buffer_length == NULL ||
        buffer_ring == MAP_FAILED || memory == MAP_FAILED)
        die("memory", ENOMEM);

    /* As Ringmaster's ring: csrc/CRing and UringSetup.swift. */
    struct io_uring_params parameters = {.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                                                  IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CLAMP |
                                                  IORING_SETUP_CQSIZE,
                                         .cq_entries = cq_entries};
    int error = io_uring_queue_init_params(sq_entries, &ring, &parameters);
    if (error < 0)
        die("io_uring_queue_init_params", -error);
    if (io_uring_register_ring_fd(&ring) < 0)
        fprintf(stderr, "the ring's descriptor could not be registered\n");
    struct io_uring_buf_reg registration = {
        .ring_addr = (uint64_t)(uintptr_t)buffer_ring, .ring_entries = buffer_count, .bgid = GROUP};
    error = io_uring_register_buf_ring(&ring, &registration, 0);
    if (error < 0)
        die("io_uring_register_buf_ring", -error);
    io_uring_buf_ring_init(buffer_ring);
    for (uint32_t i = 0; i < buffer_count; i++)
        give_buffer((int32_t)i);
    return_buffers();
}

/* Serves for ever. */
static void run(void) {
    for (;;) {
        int result = io_uring_submit_and_wait(&ring, 1);
        if (result < 0 && result != -EINTR)
            die("io_uring_submit_and_wait", -result);
        unsigned head, count = 0;
        struct io_uring_cqe *cqe;
        io_uring_for_each_cqe(&ring, head, cqe) {
            int fd = (int)(uint32_t)cqe->user_data;
            enum operation operation = (enum operation)(cqe->user_data >> 32);
            count++;
            if (operation == RECEIVE)
                received(fd, cqe);
            else if (operation == SEND)
                sent(fd, cqe->res);
            else
                completed(operation, fd, cqe);
        }
        io_uring_cq_advance(&ring, count);
        return_buffers();
    }
}

static void check_buffers(void) {
    if ((buffer_count & (buffer_count - 1)) != 0) {
        fprintf(stderr, "--buffers must be a power of two\n");
        exit(64);
    }
}

#endif
