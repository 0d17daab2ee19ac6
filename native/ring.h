/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_RING_H
#define AIOPROCKET_RING_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "lineage.h"
#include "module.h"
#include "ring_walk.h"
#include "slab.h"

/* A TPACKET_V3 ring of a packet socket that belongs to somebody else. */
struct ring {
	PyObject_HEAD
	struct module_state *state;
	int fd;			/* -1: closed */
	uint64_t process;	/* in a fork the ring is the parent's */
	size_t block_size;
	uint32_t blocks;
	uint32_t snaplen;
	uint32_t next;		/* the block that the kernel fills, or will */
	uint32_t skip;		/* packets in it that are to be thrown away */
	struct slab **slabs;	/* one for each block */
	struct slab *current;	/* the one that is walked, pinned; or NULL */
	struct walk walk;
	struct names *names;
	unsigned long long packets;
	unsigned long long bytes;
	unsigned long long truncated;
	unsigned long long damaged;
};

/* ring_memory.c */
int ring_map(struct ring *ring);
void ring_unmap(struct ring *ring);
unsigned char *ring_map_block(const struct ring *ring, uint32_t index);
void ring_release(struct ring *ring, struct slab *slab);
void ring_replace(struct ring *ring, struct slab *block);
void ring_forget(struct ring *ring);
int ring_open_block(struct ring *ring, bool tell);
void ring_leave_block(struct ring *ring);

/* ring_waiting.c */
struct waiting {
	uint32_t blocks;
	unsigned long long bytes;
};

Py_ssize_t ring_held(const struct ring *ring);
unsigned long long ring_queued(const struct ring *ring);
Py_ssize_t ring_filling(const struct ring *ring);
struct waiting ring_waiting(const struct ring *ring);

/* The next packet of ring->current, counted; false at its end. */
static inline bool
ring_next_frame(struct ring *ring, struct frame *frame)
{
	if (!walk_next(&ring->walk, frame)) {
		ring->damaged += ring->walk.left;
		ring->walk.left = 0;
		return false;
	}
	ring->packets++;
	ring->bytes += frame->length;
	ring->truncated += frame->header->tp_len > frame->length;
	return true;
}

/* ring_read.c */
PyObject *ring_receive(struct ring *ring, Py_ssize_t count);
PyObject *ring_take(struct ring *ring, Py_ssize_t count);

/* ring_dispatch.c */
struct delivery;
int ring_dispatch(struct ring *ring, struct delivery *delivery,
		  PyObject *callback, bool datagrams, int64_t nanoseconds);

extern PyType_Spec ring_spec;

#endif
