#include <liburing.h>

#include "private.h"

#include <errno.h>

_Static_assert(sizeof(struct io_uring_buf) == 16, "");

struct cring_buffers {
    struct io_uring_buf_ring *ring;
    unsigned char *memory;
    uint32_t count;
    uint32_t size;
    uint16_t group;
};

int cring_buffers_create(struct cring *ring, uint16_t group, uint32_t count, uint32_t size,
                         struct cring_buffers **out) {
    if (count == 0 || (count & (count - 1)) != 0 || count > 32768 || size == 0)
        return -EINVAL;
    struct cring_buffers *buffers = calloc(1, sizeof *buffers);
    if (buffers == NULL)
        return -ENOMEM;
    buffers->count = count;
    buffers->size = size;
    buffers->group = group;
    buffers->memory =
        mmap(NULL, (size_t)count * size, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
    if (buffers->memory == MAP_FAILED) {
        free(buffers);
        return -ENOMEM;
    }
    int error = 0;
    buffers->ring = io_uring_setup_buf_ring(&ring->uring, count, group, 0, &error);
    if (buffers->ring == NULL) {
        munmap(buffers->memory, (size_t)count * size);
        free(buffers);
        return error;
    }
    for (uint32_t id = 0; id < count; id++)
        io_uring_buf_ring_add(buffers->ring, buffers->memory + (size_t)id * size, size, (uint16_t)id,
                              io_uring_buf_ring_mask(count), (int)id);
    io_uring_buf_ring_advance(buffers->ring, (int)count);
    *out = buffers;
    return 0;
}

void cring_buffers_destroy(struct cring *ring, struct cring_buffers *buffers) {
    io_uring_free_buf_ring(&ring->uring, buffers->ring, buffers->count, buffers->group);
    munmap(buffers->memory, (size_t)buffers->count * buffers->size);
    free(buffers);
}

void *cring_buffers_base(const struct cring_buffers *buffers) {
    return buffers->memory;
}

void cring_buffers_return(struct cring_buffers *buffers, const uint16_t *ids, uint32_t count) {
    int mask = io_uring_buf_ring_mask(buffers->count);
    for (uint32_t i = 0; i < count; i++)
        io_uring_buf_ring_add(buffers->ring, buffers->memory + (size_t)ids[i] * buffers->size, buffers->size,
                              ids[i], mask, (int)i);
    io_uring_buf_ring_advance(buffers->ring, (int)count);
}
