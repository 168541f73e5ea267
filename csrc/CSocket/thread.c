#include "CSocket.h"

#include <errno.h>
#include <sys/prctl.h>

int csocket_name_thread(const char *name) {
    return prctl(PR_SET_NAME, name, 0, 0, 0) == 0 ? 0 : -errno;
}
