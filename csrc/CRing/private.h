/* The ring's inside, shared by the .c files only. */
#ifndef RINGMASTER_CRING_PRIVATE_H
#define RINGMASTER_CRING_PRIVATE_H

#include "CRing.h"
#include "compat.h"

struct cring {
    struct io_uring uring;
};

#endif
