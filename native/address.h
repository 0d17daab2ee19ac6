/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_ADDRESS_H
#define AIOPROCKET_ADDRESS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sys/socket.h>

/*
 * A sender as the kernel wrote it.  32 bytes hold every family we turn into
 * Python but AF_UNIX, and of AF_PACKET also an InfiniBand address, which
 * runs 12 bytes over the end of struct sockaddr_ll (packet(7)).
 */
union address {
	sa_family_t family;
	struct sockaddr_in inet;
	struct sockaddr_in6 inet6;
	struct sockaddr_ll packet;
	struct sockaddr_nl netlink;
	unsigned char raw[32];
};

PyObject *address_build(const union address *address, PyObject *ifname);
PyObject *address_build_unix(const void *name, size_t length);

#endif
