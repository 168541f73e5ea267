#define _GNU_SOURCE
#include "CSocket.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

_Static_assert(CSOCKET_UDP_SEGMENT == UDP_SEGMENT && CSOCKET_UDP_GRO == UDP_GRO, "");

/* Aligned room for the control message that carries a segment's size. */
union segment_control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(uint16_t))];
};

static void set_segment_size(struct msghdr *msg, union segment_control *control, uint16_t size) {
    memset(control, 0, sizeof *control);
    msg->msg_control = control->bytes;
    msg->msg_controllen = sizeof control->bytes;
    struct cmsghdr *c = CMSG_FIRSTHDR(msg);
    c->cmsg_level = SOL_UDP;
    c->cmsg_type = UDP_SEGMENT;
    c->cmsg_len = CMSG_LEN(sizeof size);
    memcpy(CMSG_DATA(c), &size, sizeof size);
}

int csocket_send_datagrams(int socket, const struct csocket_datagram *datagrams, uint32_t count) {
    if (count == 0 || count > CSOCKET_DATAGRAMS_MAX)
        return -EINVAL;
    struct mmsghdr messages[CSOCKET_DATAGRAMS_MAX];
    struct iovec vectors[CSOCKET_DATAGRAMS_MAX];
    union segment_control controls[CSOCKET_DATAGRAMS_MAX];
    for (uint32_t i = 0; i < count; i++) {
        const struct csocket_datagram *d = &datagrams[i];
        vectors[i] = (struct iovec){.iov_base = (void *)d->bytes, .iov_len = d->length};
        messages[i] = (struct mmsghdr){.msg_hdr = {.msg_name = (void *)d->name,
                                                   .msg_namelen = d->name_length,
                                                   .msg_iov = &vectors[i],
                                                   .msg_iovlen = 1}};
        if (d->segment_size > 0)
            set_segment_size(&messages[i].msg_hdr, &controls[i], d->segment_size);
    }
    int sent;
    do {
        sent = sendmmsg(socket, messages, count, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : sent;
}
