/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_ARENA_H
#define AIOPROCKET_ARENA_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "pool_lock.h"
#include "ring_walk.h"
#include "scratch.h"

enum {
	ARENA_ALIGNMENT = TPACKET_ALIGNMENT,
	/* A batch ends beyond BATCH_BYTES, with the largest of packets. */
	ARENA_SIZE = BATCH_BYTES + ARENA_ALIGNMENT + FRAME_HEADER +
		     SCRATCH_MAX_SIZE,
	ARENAS_KEPT = 4,
};

/*
 * Memory for the packets of one batch, mapped: pages that none reaches cost
 * nothing.  Here are those not in use, for their pages would fault anew.
 */
struct arena_pool {
	unsigned char *idle[ARENAS_KEPT];
	int count;
	struct pool_lock lock;
};

unsigned char *arena_take(struct arena_pool *pool);
void arena_give(struct arena_pool *pool, unsigned char *memory);
void arena_pool_drain(struct arena_pool *pool);

#endif
