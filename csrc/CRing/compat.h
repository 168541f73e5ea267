/*
 * What Debian 12's liburing 2.3 and its copy of the kernel's header lack, by values of our own, so that they
 * hold with a newer liburing too. Include <liburing.h> first: only .c files do.
 *
 * NO_SQARRAY is left out on purpose: liburing before 2.6 does not know it, writes the index array over the
 * ring's memory and so corrupts submissions without an error.
 */
#ifndef RINGMASTER_CRING_COMPAT_H
#define RINGMASTER_CRING_COMPAT_H

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* struct io_uring_buf_reg with the flags (Linux 6.4), which the header of 6.1 calls padding. It is registered
 * by the plain system call: liburing before 2.8 drops the flags. */
struct cring_buf_reg {
    uint64_t ring_addr;
    uint32_t ring_entries;
    uint16_t bgid;
    uint16_t flags;
    uint64_t resv[3];
};

/* IOU_PBUF_RING_INC (Linux 6.12): a receive takes only as much of a buffer as it needs. */
#define CRING_PBUF_RING_INC 2

#endif
