/* SPDX-License-Identifier: MIT */
/* What waits in a ring, for its reader or for the kernel. */
#include "ring.h"

#include "ring_block.h"

/* Packets in blocks that were read and that the kernel waits for. */
Py_ssize_t
ring_held(const struct ring *ring)
{
	Py_ssize_t held = 0;

	for (uint32_t at = 0; ring->slabs != NULL && at < ring->blocks; at++) {
		const struct slab *slab = ring->slabs[at];

		if (slab->taken && slab != ring->current)
			held += (Py_ssize_t)block_header(slab)->num_pkts;
	}
	return held;
}

/* Bytes of the packets that wait, with the kernel's headers. */
unsigned long long
ring_queued(const struct ring *ring)
{
	unsigned long long queued = 0;

	if (ring->slabs == NULL)
		return 0;
	if (ring->current != NULL && ring->walk.left > 0 &&
	    ring->walk.at < ring->walk.size)
		queued = ring->walk.size - ring->walk.at;
	for (uint32_t at = 0; at < ring->blocks; at++) {
		const struct slab *slab = ring->slabs[at];

		uint32_t known = at == ring->next ? ring->skip : 0;

		if (!slab->taken && block_header(slab)->num_pkts > known)
			queued += block_header(slab)->blk_len;
	}
	return queued;
}

/* Packets that the kernel has not handed over yet. */
Py_ssize_t
ring_filling(const struct ring *ring)
{
	uint32_t at = ring->next, known = ring->skip;

	for (uint32_t seen = 0; ring->slabs != NULL && seen < ring->blocks;
	     seen++) {
		const struct slab *slab = ring->slabs[at];

		if (slab->taken || is_guard(ring, slab))
			break;
		if (!is_full(slab))
			return (Py_ssize_t)block_header(slab)->num_pkts -
			       (Py_ssize_t)known;
		known = 0;
		at = (at + 1) % ring->blocks;
	}
	return 0;
}

/*
 * How many blocks the kernel has handed over and nobody has begun, with what is
 * left of the one that was; and the bytes in them, with the kernel's headers.
 */
struct waiting
ring_waiting(const struct ring *ring)
{
	struct waiting waiting = {0};
	uint32_t at = ring->next;

	if (ring->slabs == NULL || lineage_here() != ring->process)
		return waiting;
	if (ring->current != NULL && ring->walk.left > 0 &&
	    ring->walk.at < ring->walk.size) {
		waiting.blocks = 1;
		waiting.bytes = ring->walk.size - ring->walk.at;
	}
	for (uint32_t seen = 0; seen < ring->blocks; seen++) {
		const struct slab *slab = ring->slabs[at];

		if (slab->taken || is_guard(ring, slab) || !is_full(slab))
			break;
		waiting.blocks++;
		waiting.bytes += block_header(slab)->blk_len;
		at = (at + 1) % ring->blocks;
	}
	return waiting;
}
