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

enum { KNOWN_DESTINATIONS = 64 };

/*
 * Tuples that were encoded before, by their identity: a reply goes to the very
 * tuple that the packet came with, and to find it takes a tenth of the time.
 */
struct known_destinations {
	struct {
		PyObject *addr;
		union address name;
	} entries[KNOWN_DESTINATIONS];
};

socklen_t destination_find(struct known_destinations **known, int family,
			   PyObject *addr, union address *name);
void destination_forget(struct known_destinations *known);
socklen_t destination_size(int family);
socklen_t destination_encode(union address *address, int fd, int family,
			     PyObject *value, struct ifindex_cache *cache);

#endif
