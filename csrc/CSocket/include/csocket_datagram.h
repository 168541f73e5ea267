/* Datagrams: many sent by one call, and the socket options of UDP that glibc's headers keep apart. */
#ifndef RINGMASTER_CSOCKET_DATAGRAM_H
#define RINGMASTER_CSOCKET_DATAGRAM_H

#include <stddef.h>
#include <stdint.h>

/* Socket options at level SOL_UDP (udp(7)): the kernel splits what is sent (4.18), joins what is received
 * (5.0).
 */
enum { CSOCKET_UDP_SEGMENT = 103, CSOCKET_UDP_GRO = 104 };

/* Datagrams that one call sends at most. */
enum { CSOCKET_DATAGRAMS_MAX = 64 };

/* A datagram to send; with a segment size, one that the kernel splits into datagrams of that size. */
struct csocket_datagram {
    const void *name; /* a sockaddr, or NULL for the connected peer */
    const void *bytes;
    size_t length;
    uint32_t name_length;
    uint16_t segment_size; /* bytes, or 0 */
    int16_t traffic_class; /* or IPv4's type of service: 0 to 255, or -1 for the socket's */
};

/*
 * sendmmsg(2) of 1 to CSOCKET_DATAGRAMS_MAX datagrams on a socket of this address family, without blocking
 * and without SIGPIPE. How many were sent, or why the first was not: an error of a later one comes when that
 * one is the first.
 */
int csocket_send_datagrams(int socket, int family, const struct csocket_datagram *datagrams, uint32_t count);

#endif
