#include <liburing.h>

#include "private.h"

#include <errno.h>

_Static_assert(sizeof(struct io_uring_buf) == 16, "");
_Static_assert(sizeof(struct cring_buf_reg) == sizeof(struct io_uring_buf_reg), "");
_Static_assert(offsetof(struct cring_buf_reg, bgid) == offsetof(struct io_uring_buf_reg, bgid), "");

struct cring_buffers {
    struct io_uring_buf_ring *ring;
    unsigned char *base;
    uint32_t entries;
    uint32_t stride;
    uint16_t group;
};

static size_t ring_size(uint32_t entries) {
    return entries * sizeof(struct io_uring_buf);
}

int cring_buffers_create(struct cring *ring, uint16_t group, uint32_t entries, int incremental, void *base,
                         uint32_t stride, struct cring_buffers **out) {
    if (entries == 0 || (entries & (entries - 1)) != 0 || entries > 32768 || stride == 0)
        return -EINVAL;
    struct cring_buffers *buffers = calloc(1, sizeof *buffers);
    if (buffers == NULL)
        return -ENOMEM;
    buffers->entries = entries;
    buffers->base = base;
    buffers->stride = stride;
    buffers->group = group;
    buffers->ring =
        mmap(NULL, ring_size(entries), PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
    if (buffers->ring == MAP_FAILED) {
        free(buffers);
        return -ENOMEM;
    }
    struct cring_buf_reg registration = {.ring_addr = (uint64_t)(uintptr_t)buffers->ring,
                                         .ring_entries = entries,
                                         .bgid = group,
                                         .flags = incremental ? CRING_PBUF_RING_INC : 0};
    int error = io_uring_register((unsigned)ring->uring.ring_fd, IORING_REGISTER_PBUF_RING, &registration, 1);
    if (error < 0) {
        munmap(buffers->ring, ring_size(entries));
        free(buffers);
        return error;
    }
    io_uring_buf_ring_init(buffers->ring);
    *out = buffers;
    return 0;
}

void cring_buffers_destroy(struct cring *ring, struct cring_buffers *buffers) {
    /* Refused only when there is no such group, and then the kernel does not know the memory either. */
    io_uring_unregister_buf_ring(&ring->uring, buffers->group);
    munmap(buffers->ring, ring_size(buffers->entries));
    free(buffers);
}

void cring_buffers_give(struct cring_buffers *buffers, const uint16_t *ids, uint32_t count, uint32_t length) {
    int mask = io_uring_buf_ring_mask(buffers->entries);
    for (uint32_t i = 0; i < count; i++)
        io_uring_buf_ring_add(buffers->ring, buffers->base + (size_t)ids[i] * buffers->stride, length, ids[i],
                              mask, (int)i);
    io_uring_buf_ring_advance(buffers->ring, (int)count);
}
