/*
 * What Debian 12's liburing 2.3 lacks. Everything here is guarded, so that a newer liburing takes over.
 * Include <liburing.h> first: only .c files do.
 *
 * NO_SQARRAY is left out on purpose: liburing before 2.6 does not know it, writes the index array over the
 * ring's memory and so corrupts submissions without an error.
 */
#ifndef RINGMASTER_CRING_COMPAT_H
#define RINGMASTER_CRING_COMPAT_H

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* The version macros came with 2.4, and so did io_uring_setup_buf_ring(). */
#ifndef IO_URING_VERSION_MAJOR

static inline struct io_uring_buf_ring *io_uring_setup_buf_ring(struct io_uring *ring, unsigned int entries,
                                                                int group, unsigned int flags, int *error) {
    size_t size = entries * sizeof(struct io_uring_buf);
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
    if (memory == MAP_FAILED) {
        *error = -ENOMEM;
        return NULL;
    }
    struct io_uring_buf_reg registration;
    memset(&registration, 0, sizeof registration);
    registration.ring_addr = (uint64_t)(uintptr_t)memory;
    registration.ring_entries = entries;
    registration.bgid = (uint16_t)group;
    *error = io_uring_register_buf_ring(ring, &registration, flags);
    if (*error != 0) {
        munmap(memory, size);
        return NULL;
    }
    struct io_uring_buf_ring *buffers = memory;
    io_uring_buf_ring_init(buffers);
    return buffers;
}

static inline int io_uring_free_buf_ring(struct io_uring *ring, struct io_uring_buf_ring *buffers,
                                         unsigned int entries, int group) {
    int error = io_uring_unregister_buf_ring(ring, group);
    if (error == 0)
        munmap(buffers, entries * sizeof(struct io_uring_buf));
    return error;
}

#endif
#endif
