/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_SLAB_H
#define AIOPROCKET_SLAB_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "ifnames.h"
#include "senders.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct arena_pool;
struct batch;
struct packet;
struct ring;

enum slab_kind {
	SLAB_RING,	/* a block of a ring, shared with the kernel */
	SLAB_HEAP,	/* a copy of what a batch needs of one */
	SLAB_ARENA,	/* an arena of a pool */
	SLAB_APART,	/* what was a ring's block, at the address it had */
};

/* What senders look like, for as long as anybody may ask for one. */
struct names {
	atomic_int users;
	int fd;			/* -1: closed, nothing more can be found out */
	struct ifnames *table;
	struct senders *senders;
#ifdef Py_GIL_DISABLED
	PyMutex lock;
#endif
};

/*
 * Memory that packets and batches lie in.
 *
 * Pins (a batch, a ring that walks it) keep it as it is.  With the last pin
 * it is over: packets in it that somebody still has are copied out.  Exports
 * (views that Python holds of the memory itself) keep it beyond that.  With
 * neither, a block goes back to the kernel, and a copy is freed.
 *
 * Of a SLAB_RING: ring is set and outlives it; the ring's table has it at
 * index; and where it is not taken, nobody pins it, has a view of it or a packet
 * in it.  Any other has no ring, is in no table, and frees its memory itself
 * when the last of these is gone.
 */
struct slab {
	enum slab_kind kind;
	bool taken;		/* of a ring: out of the kernel's hands */
	uint32_t index;		/* of a ring: which block */
	unsigned char *memory;
	size_t size;
	size_t used;		/* what of it has been written */
	Py_ssize_t pins;
	Py_ssize_t exports;
	struct packet *packets;
	struct batch *batches;
	struct ring *ring;	/* of a ring: which */
	struct arena_pool *arenas;	/* of an arena: which pool's */
	struct names *names;	/* NULL: nobody in it has one */
};

struct slab *slab_new(enum slab_kind kind, unsigned char *memory, size_t size,
		      struct names *names);
struct slab *slab_copy(const struct slab *slab);
void slab_settle(struct slab *slab);
int slab_evict(struct slab *slab);
bool slab_part(struct slab *slab);
PyObject *slab_ifname(struct slab *slab, int ifindex);
PyObject *slab_addr(struct slab *slab, const union address *address);

struct names *names_new(int fd);
void names_drop(struct names *names);

#endif
