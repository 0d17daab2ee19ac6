/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_SCRATCH_H
#define AIOPROCKET_SCRATCH_H

#include <Python.h>

#include "pool_lock.h"

#include <stdalign.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum {
	SCRATCH_SLOTS = 64,
	/* As tcpdump's MAXIMUM_SNAPLEN: more than any frame, also on lo. */
	SCRATCH_MAX_SIZE = 256 * 1024,
	/* A full SCM_RIGHTS (253 descriptors, unix(7)) and some more. */
	SCRATCH_CONTROL = 1280,
	SCRATCH_LINE = 64,
};

/* A batch ends there: 64 full Ethernet frames, and some way below 128 KiB. */
enum { BATCH_BYTES = 112 * 1024 };

/*
 * Where system calls put packets before they become objects: a slot is one
 * message, with its data, sender and control messages.  It is far larger
 * than what is ever touched of it, and mapped: pages that no packet reaches
 * cost nothing.
 */
struct scratch {
	struct scratch *next;
	size_t size;
	int used;	/* slots that a system call has written to */
	struct mmsghdr messages[SCRATCH_SLOTS];
	struct iovec vectors[SCRATCH_SLOTS];
	struct sockaddr_storage names[SCRATCH_SLOTS];
	alignas(struct cmsghdr) unsigned char
		control[SCRATCH_SLOTS][SCRATCH_CONTROL];
	alignas(SCRATCH_LINE) unsigned char
		data[SCRATCH_SLOTS * (SCRATCH_MAX_SIZE + SCRATCH_LINE)];
};

/*
 * Those not in use.  One serves a process: only a receive() within a
 * receive() (a finalizer that ran in between) or beside it (free threading)
 * makes a second.
 */
struct scratch_pool {
	struct scratch *idle;
	struct pool_lock lock;
};

struct scratch *scratch_take(struct scratch_pool *pool, size_t size);
void scratch_give(struct scratch_pool *pool, struct scratch *scratch);
void scratch_pool_drain(struct scratch_pool *pool);

#endif
