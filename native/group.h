/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_GROUP_H
#define AIOPROCKET_GROUP_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "destination.h"
#include "sender.h"
#include "tag.h"
#include "vnet.h"

/* Messages for each system call; more of them gain nothing. */
enum { GROUP = 128 };

struct group {
	int used;
	int views_used;
	struct ifindex_cache interface;
	struct mmsghdr messages[GROUP];
	struct iovec vectors[GROUP];
	struct tag tags[GROUP];	/* filled in where one is put back */
	unsigned char headers[GROUP][VNET_HEADER_MAX];
	union address names[GROUP];
	Py_buffer views[GROUP];
};

void group_begin(struct group *group);
void group_fill(struct group *group, struct sender *sender, PyObject *items,
		Py_ssize_t start, bool addressed);
void group_release(struct group *group);

#endif
