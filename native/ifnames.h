/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_IFNAMES_H
#define AIOPROCKET_IFNAMES_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

enum { IFNAMES_SIZE = 64 };

/*
 * Names of the interfaces that packets came through, by ifindex %
 * IFNAMES_SIZE.  Never invalidated: a socket goes on showing the name that an
 * interface had when it first saw it.
 */
struct ifnames {
	struct {
		int ifindex;
		PyObject *ifname;
	} entries[IFNAMES_SIZE];
};

PyObject *ifnames_get(struct ifnames **names, int fd, int ifindex);
void ifnames_free(struct ifnames *names);

#endif
