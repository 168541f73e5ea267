/*
 * CNetlink: what the kernel knows of listening sockets and tells by netlink only (sock_diag(7)), through
 * libmnl.
 *
 * Every function returns 0 or a negative errno, prints nothing and keeps no state. Sockets of the caller's
 * own network namespace are seen, for which no capability is needed. -ENOENT: the kernel lacks the protocol's
 * diag module (tcp_diag, unix_diag). -EPROTONOSUPPORT: it has no sock_diag at all. -ETIMEDOUT: it did not
 * answer within a second.
 */
#ifndef RINGMASTER_CNETLINK_H
#define RINGMASTER_CNETLINK_H

#include <stddef.h>
#include <stdint.h>

/* The accept queue of a listening socket. The caller says which; the rest is filled in. */
struct cnetlink_queue {
    uint64_t cookie;    /* in: SO_COOKIE (socket(7)), which no other socket has had since boot */
    uint32_t inode;     /* in, Unix-domain: st_ino of the socket (fstat(2)) */
    uint32_t is_known;  /* out: not 0 when the kernel told of it */
    uint32_t depth;     /* out: connections that wait for accept(2) */
    uint32_t limit;     /* out: the backlog in effect; a queue is full with one more than that */
    uint32_t has_drops; /* out: not 0 when the kernel told `drops` (never of a Unix-domain socket) */
    uint32_t drops;     /* out: SK_MEMINFO_DROPS: what the socket threw away, modulo 2^32 */
};

/*
 * Fills in those of `queues` that belong to TCP sockets of `family` (AF_INET or AF_INET6). One dump of all
 * listeners, whatever their number; it is not a snapshot.
 */
int cnetlink_tcp_queues(int family, struct cnetlink_queue *queues, size_t count);

/* Fills in the queue of one Unix-domain stream listener. -ENOENT and -ESTALE: there is no such socket. */
int cnetlink_unix_queue(struct cnetlink_queue *queue);

#endif
