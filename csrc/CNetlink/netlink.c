#include "CNetlink.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

/* The kernel answers within the call that asks: nothing but a defect takes this long. */
static const struct timeval answer_timeout = {.tv_sec = 1};

/* The kernel fills a dump's messages up to the size it is offered, but offers itself 32 KiB at most. */
enum { MESSAGE_SIZE_MAX = 32 * 1024 };

static int exchange(struct mnl_socket *netlink, const struct nlmsghdr *request, mnl_cb_t told,
                    void *context) {
    static const unsigned int any_port = MNL_SOCKET_AUTOPID;
    _Alignas(struct nlmsghdr) char answer[MESSAGE_SIZE_MAX];
    int fd = mnl_socket_get_fd(netlink);
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &answer_timeout, sizeof answer_timeout) < 0)
        return -errno;
    if (mnl_socket_bind(netlink, 0, any_port) < 0)
        return -errno;
    if (mnl_socket_sendto(netlink, request, request->nlmsg_len) < 0)
        return -errno;
    for (;;) {
        ssize_t length = mnl_socket_recvfrom(netlink, answer, sizeof answer);
        if (length < 0 && errno == EINTR)
            continue;
        if (length < 0)
            return errno == EAGAIN ? -ETIMEDOUT : -errno;
        int result = mnl_cb_run(answer, (size_t)length, request->nlmsg_seq, mnl_socket_get_portid(netlink),
                                told, context);
        if (result < MNL_CB_STOP)
            return -errno;
        if (result == MNL_CB_STOP)
            return 0;
    }
}

static int ask(const struct nlmsghdr *request, mnl_cb_t told, void *context) {
    struct mnl_socket *netlink = mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC);
    if (netlink == NULL)
        return -errno;
    int result = exchange(netlink, request, told, context);
    mnl_socket_close(netlink);
    return result;
}

static struct nlmsghdr *put_header(char *buffer, uint16_t flags) {
    struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);
    header->nlmsg_type = SOCK_DIAG_BY_FAMILY;
    header->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
    header->nlmsg_seq = 1;
    return header;
}

static uint64_t cookie_of(const uint32_t halves[2]) {
    return (uint64_t)halves[1] << 32 | halves[0];
}

/* ---- TCP -------------------------------------------------------------------------------------------------
 */

struct wanted {
    struct cnetlink_queue *queues;
    size_t count;
};

static void read_drops(const struct nlmsghdr *message, struct cnetlink_queue *queue) {
    const struct nlattr *attribute;
    mnl_attr_for_each(attribute, message, sizeof(struct inet_diag_msg)) {
        if (mnl_attr_get_type(attribute) != INET_DIAG_SKMEMINFO)
            continue;
        uint32_t memory[SK_MEMINFO_VARS] = {0};
        uint16_t length = mnl_attr_get_payload_len(attribute);
        if (length < (SK_MEMINFO_DROPS + 1) * sizeof *memory)
            continue;
        memcpy(memory, mnl_attr_get_payload(attribute), length < sizeof memory ? length : sizeof memory);
        queue->drops = memory[SK_MEMINFO_DROPS];
        queue->has_drops = 1;
    }
}

static int tcp_told(const struct nlmsghdr *message, void *context) {
    const struct wanted *wanted = context;
    if (mnl_nlmsg_get_payload_len(message) < sizeof(struct inet_diag_msg))
        return MNL_CB_OK;
    const struct inet_diag_msg *socket = mnl_nlmsg_get_payload(message);
    uint64_t cookie = cookie_of(socket->id.idiag_cookie);
    for (size_t index = 0; index < wanted->count; index++) {
        struct cnetlink_queue *queue = &wanted->queues[index];
        if (queue->cookie != cookie)
            continue;
        /* Of a listener these mean the accept queue and its limit (tcp_diag_get_info() in net/ipv4). */
        queue->depth = socket->idiag_rqueue;
        queue->limit = socket->idiag_wqueue;
        queue->is_known = 1;
        read_drops(message, queue);
    }
    return MNL_CB_OK;
}

int cnetlink_tcp_queues(int family, struct cnetlink_queue *queues, size_t count) {
    _Alignas(struct nlmsghdr) char buffer[MNL_NLMSG_HDRLEN + MNL_ALIGN(sizeof(struct inet_diag_req_v2))];
    struct nlmsghdr *header = put_header(buffer, NLM_F_DUMP);
    struct inet_diag_req_v2 *request = mnl_nlmsg_put_extra_header(header, sizeof *request);
    request->sdiag_family = (uint8_t)family;
    request->sdiag_protocol = IPPROTO_TCP;
    request->idiag_ext = 1u << (INET_DIAG_SKMEMINFO - 1);
    request->idiag_states = 1u << TCP_LISTEN;
    struct wanted wanted = {.queues = queues, .count = count};
    return ask(header, tcp_told, &wanted);
}

/* ---- Unix-domain -----------------------------------------------------------------------------------------
 */

static int unix_told(const struct nlmsghdr *message, void *context) {
    struct cnetlink_queue *queue = context;
    const struct nlattr *attribute;
    mnl_attr_for_each(attribute, message, sizeof(struct unix_diag_msg)) {
        if (mnl_attr_get_type(attribute) != UNIX_DIAG_RQLEN)
            continue;
        struct unix_diag_rqlen lengths;
        if (mnl_attr_get_payload_len(attribute) < sizeof lengths)
            continue;
        memcpy(&lengths, mnl_attr_get_payload(attribute), sizeof lengths);
        queue->depth = lengths.udiag_rqueue;
        queue->limit = lengths.udiag_wqueue;
        queue->is_known = 1;
    }
    return MNL_CB_STOP;
}

int cnetlink_unix_queue(struct cnetlink_queue *queue) {
    _Alignas(struct nlmsghdr) char buffer[MNL_NLMSG_HDRLEN + MNL_ALIGN(sizeof(struct unix_diag_req))];
    struct nlmsghdr *header = put_header(buffer, 0);
    struct unix_diag_req *request = mnl_nlmsg_put_extra_header(header, sizeof *request);
    request->sdiag_family = AF_UNIX;
    request->udiag_states = 1u << TCP_LISTEN;
    request->udiag_ino = queue->inode;
    request->udiag_show = UDIAG_SHOW_RQLEN;
    request->udiag_cookie[0] = (uint32_t)queue->cookie;
    request->udiag_cookie[1] = (uint32_t)(queue->cookie >> 32);
    return ask(header, unix_told, queue);
}
