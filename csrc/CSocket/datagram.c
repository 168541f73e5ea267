#define _GNU_SOURCE
#include "CSocket.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

_Static_assert(CSOCKET_UDP_SEGMENT == UDP_SEGMENT && CSOCKET_UDP_GRO == UDP_GRO, "");

/* Aligned room for the control messages that carry a segment's size and a traffic class. */
union send_control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(uint16_t)) + CMSG_SPACE(sizeof(int))];
};

static void add_control(struct msghdr *msg, union send_control *control, int level, int type,
                        const void *value, size_t size) {
    struct cmsghdr *c = (struct cmsghdr *)(void *)(control->bytes + msg->msg_controllen);
    memset(c, 0, CMSG_SPACE(size));
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(c), value, size);
    msg->msg_control = control->bytes;
    msg->msg_controllen += CMSG_SPACE(size);
}

static void add_traffic_class(struct msghdr *msg, union send_control *control, int family, int value) {
    if (family == AF_INET6)
        add_control(msg, control, IPPROTO_IPV6, IPV6_TCLASS, &value, sizeof value);
    else if (family == AF_INET)
        add_control(msg, control, IPPROTO_IP, IP_TOS, &value, sizeof value);
}

int csocket_send_datagrams(int socket, int family, const struct csocket_datagram *datagrams, uint32_t count) {
    if (count == 0 || count > CSOCKET_DATAGRAMS_MAX)
        return -EINVAL;
    struct mmsghdr messages[CSOCKET_DATAGRAMS_MAX];
    struct iovec vectors[CSOCKET_DATAGRAMS_MAX];
    union send_control controls[CSOCKET_DATAGRAMS_MAX];
    for (uint32_t i = 0; i < count; i++) {
        const struct csocket_datagram *d = &datagrams[i];
        vectors[i] = (struct iovec){.iov_base = (void *)d->bytes, .iov_len = d->length};
        messages[i] = (struct mmsghdr){.msg_hdr = {.msg_name = (void *)d->name,
                                                   .msg_namelen = d->name_length,
                                                   .msg_iov = &vectors[i],
                                                   .msg_iovlen = 1}};
        if (d->segment_size > 0)
            add_control(&messages[i].msg_hdr, &controls[i], SOL_UDP, UDP_SEGMENT, &d->segment_size,
                        sizeof d->segment_size);
        if (d->traffic_class >= 0)
            add_traffic_class(&messages[i].msg_hdr, &controls[i], family, d->traffic_class);
    }
    int sent;
    do {
        sent = sendmmsg(socket, messages, count, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : sent;
}
