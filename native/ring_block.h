/* SPDX-License-Identifier: MIT */
/* A block of a ring: whose it is, and which; see ring_memory.c. */
#ifndef AIOPROCKET_RING_BLOCK_H
#define AIOPROCKET_RING_BLOCK_H

#include "ring.h"

static inline struct tpacket_hdr_v1 *
block_header(const struct slab *slab)
{
	struct tpacket_block_desc *block = (void *)slab->memory;

	return &block->hdr.bh1;
}

/* Below, the guard would be too large a part of the ring. */
enum { FEWEST_GUARDED = 4 };

static inline uint32_t
get_status(const struct slab *slab)
{
	uint32_t *status = &block_header(slab)->block_status;

	return __atomic_load_n(status, __ATOMIC_ACQUIRE);
}

static inline void
set_status(struct slab *slab, uint32_t status)
{
	__atomic_store_n(&block_header(slab)->block_status, status,
			 __ATOMIC_RELEASE);
}

static inline bool
is_full(const struct slab *slab)
{
	return (get_status(slab) & TP_STATUS_USER) != 0;
}

/* Which block was entered last, or so many before that one. */
static inline uint32_t
newest_index(const struct ring *ring, uint32_t before)
{
	return (ring->next + ring->blocks - 1 - before) % ring->blocks;
}

static inline struct slab *
newest(const struct ring *ring, uint32_t before)
{
	return ring->slabs[newest_index(ring, before)];
}

/* Also asked while the ring ends, when the others may be gone. */
static inline bool
is_guard(const struct ring *ring, const struct slab *slab)
{
	return ring->blocks >= FEWEST_GUARDED &&
	       slab->index == newest_index(ring, 1);
}

#endif
