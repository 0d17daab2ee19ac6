/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_DESTINATION_H
#define AIOPROCKET_DESTINATION_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <net/if.h>
#include <stdbool.h>

#include "address.h"

/* The interface looked up last, in the namespace of the socket. */
struct ifindex_cache {
	char name[IFNAMSIZ];
	int ifindex;		/* 0: none yet */
};

socklen_t destination_size(int family);
socklen_t destination_encode(union address *address, int fd, int family,
			     PyObject *value, struct ifindex_cache *cache);

#endif
