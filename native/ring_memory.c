/* SPDX-License-Identifier: MIT */
/*
 * The memory of a ring, and whose turn it is with each block of it.
 *
 * A block is the kernel's until it sets TP_STATUS_USER, which it does when
 * the block is full or its time is over, in the order of the ring; and ours
 * until we set TP_STATUS_KERNEL, which may be in any order.  A socket polls
 * readable as long as the block that was filled last, the newest, is ours, so
 * before anybody waits, that one has to go back.  Whoever iterates over
 * batches still has the last one then, and a copy would cost more than all
 * the rest.  So the block before the newest one is a guard: it stays ours, in
 * use or not, until a newer block has come.  The kernel goes round the ring in
 * order and does not pass it; the newest block is said to be the kernel's, and
 * its bytes stay what they are all the same.
 */
#include "ring.h"

#include "ring_block.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* Enter the next block: the newest one becomes the guard. */
static void
advance(struct ring *ring)
{
	struct slab *past = newest(ring, 1);

	if (ring->blocks >= FEWEST_GUARDED)
		set_status(newest(ring, 0), TP_STATUS_USER);
	ring->next = (ring->next + 1) % ring->blocks;
	if (ring->blocks >= FEWEST_GUARDED && !past->taken)
		set_status(past, TP_STATUS_KERNEL);
}

static unsigned char *
map_all(const struct ring *ring)
{
	return mmap(NULL, ring->block_size * ring->blocks,
		    PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, 0);
}

/* 0, or -1 with an exception; ring_unmap() does for both. */
int
ring_map(struct ring *ring)
{
	unsigned char *memory;
	uint32_t made = 0;

	/* The kernel enters page for page: milliseconds, and nobody has it yet. */
	Py_BEGIN_ALLOW_THREADS
	memory = map_all(ring);
	Py_END_ALLOW_THREADS
	if (memory == MAP_FAILED) {
		PyErr_SetFromErrno(PyExc_OSError);
		return -1;
	}
	ring->slabs = calloc(ring->blocks, sizeof(struct slab *));
	ring->names = names_new(ring->fd);
	while (ring->slabs != NULL && ring->names != NULL &&
	       made < ring->blocks) {
		struct slab *slab = slab_new(
			SLAB_RING, memory + made * ring->block_size,
			ring->block_size, ring->names);

		if (slab == NULL)
			break;
		slab->ring = ring;
		slab->index = made;
		ring->slabs[made++] = slab;
	}
	if (made == ring->blocks) {
		if (ring->blocks >= FEWEST_GUARDED)
			set_status(newest(ring, 1), TP_STATUS_USER);
		return 0;
	}
	munmap(memory + made * ring->block_size,
	       (ring->blocks - made) * ring->block_size);
	PyErr_NoMemory();
	return -1;
}

/*
 * The ring is over; what anybody has of it stays as it is.  First nothing is
 * read any more, then nothing looks at the ring, then its memory goes: what is
 * let go of meanwhile may run anything.
 */
void
ring_unmap(struct ring *ring)
{
	struct slab **slabs = ring->slabs;

	if (slabs != NULL && ring->current != NULL)
		ring_leave_block(ring);
	ring->slabs = NULL;
	for (uint32_t at = 0; slabs != NULL && at < ring->blocks; at++)
		if (slabs[at] != NULL && slabs[at]->taken &&
		    slab_part(slabs[at]))
			slabs[at] = NULL;
	for (uint32_t at = 0; slabs != NULL && at < ring->blocks; at++) {
		struct slab *slab = slabs[at];

		if (slab == NULL)
			continue;
		munmap(slab->memory, slab->size);
		names_drop(slab->names);
		free(slab);
	}
	free(slabs);
	if (ring->names != NULL) {
		ring->names->fd = -1;
		names_drop(ring->names);
		ring->names = NULL;
	}
	ring->fd = -1;
}

/* One block through a mapping of its own; NULL with errno. */
unsigned char *
ring_map_block(const struct ring *ring, uint32_t index)
{
	size_t size = ring->block_size, before = index * size;
	size_t after = (ring->blocks - index - 1) * size;
	unsigned char *memory = map_all(ring);

	if (memory == MAP_FAILED)
		return NULL;
	if (before > 0)
		munmap(memory, before);
	if (after > 0)
		munmap(memory + before + size, after);
	return memory + before;
}

/* Give a block to the kernel, unless it has passed to a child by fork(2). */
void
ring_release(struct ring *ring, struct slab *slab)
{
	struct tpacket_hdr_v1 *header = block_header(slab);

	slab->taken = false;
	if (lineage_here() != ring->process)
		return;
	/* What ring_forget() reads of a block that is not begun. */
	header->num_pkts = 0;
	if (!is_guard(ring, slab))
		set_status(slab, TP_STATUS_KERNEL);
}

/* Another slab stands for a block now, which nobody has taken. */
void
ring_replace(struct ring *ring, struct slab *block)
{
	ring->slabs[block->index] = block;
	ring_release(ring, block);
}

void
ring_leave_block(struct ring *ring)
{
	struct slab *slab = ring->current;

	ring->damaged += ring->walk.left;
	ring->walk.left = 0;
	ring->current = NULL;
	slab->pins--;
	slab_settle(slab);
}

static void
enter_block(struct ring *ring, struct slab *slab)
{
	size_t used = block_header(slab)->blk_len;
	struct frame frame;

	slab->used = used < slab->size ? used : slab->size;
	slab->taken = true;
	slab->pins++;
	ring->current = slab;
	advance(ring);
	walk_begin(&ring->walk, slab->memory, slab->used, ring->snaplen);
	while (ring->skip > 0 && walk_next(&ring->walk, &frame))
		ring->skip--;
	ring->skip = 0;
}

/* The kernel will come to it soon: it must not find it held. */
static int
free_block_ahead(struct ring *ring)
{
	uint32_t ahead = (ring->next + ring->blocks / 2) % ring->blocks;
	struct slab *slab = ring->slabs[ahead];

	if (!slab->taken || slab == ring->current)
		return 0;
	return slab_evict(slab);
}

/* 0: nothing is there now, and what held the socket readable is not. */
static int
find_nothing(struct ring *ring, bool tell)
{
	struct slab *slab = newest(ring, 0);
	socklen_t length = sizeof(int);
	int error = 0;

	if (slab->taken && ring->blocks >= FEWEST_GUARDED)
		set_status(slab, TP_STATUS_KERNEL);
	else if (slab->taken && slab_evict(slab) < 0)
		return -1;
	if (!tell)
		return 0;
	if (getsockopt(ring->fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
		error = errno;
	if (error == 0)
		return 0;
	errno = error;
	PyErr_SetFromErrno(PyExc_OSError);
	return -1;
}

/*
 * 1: ring->current has a packet left; 0: there is none now; -1 with an
 * exception, also for what happened to the socket, if that may be told now.
 */
int
ring_open_block(struct ring *ring, bool tell)
{
	if (ring->slabs == NULL || lineage_here() != ring->process) {
		errno = EBADF;
		PyErr_SetFromErrno(PyExc_OSError);
		return -1;
	}
	while (ring->walk.left == 0 || ring->current == NULL) {
		struct slab *slab;

		if (ring->current != NULL)
			ring_leave_block(ring);
		slab = ring->slabs[ring->next];
		if (slab->taken && slab_evict(slab) < 0)
			return -1;
		slab = ring->slabs[ring->next];
		if (!is_full(slab))
			return find_nothing(ring, tell);
		enter_block(ring, slab);
		if (free_block_ahead(ring) < 0)
			return -1;
	}
	return 1;
}

/*
 * Throw away all that has come until now.  Nothing may come meanwhile: a
 * filter has to see to that.  What the kernel has put into the block that it
 * fills now is skipped when it hands that one over.
 */
void
ring_forget(struct ring *ring)
{
	struct slab *slab;

	ring->walk.left = 0;
	if (ring->current != NULL)
		ring_leave_block(ring);
	for (uint32_t at = 0; at < ring->blocks; at++) {
		slab = ring->slabs[ring->next];
		if (slab->taken || !is_full(slab))
			break;
		slab->taken = true;
		advance(ring);
		ring_release(ring, slab);
	}
	slab = ring->slabs[ring->next];
	ring->skip = 0;
	if (!slab->taken) {
		ring->skip = block_header(slab)->num_pkts;
		/* It may have been handed over in between. */
		if (is_full(slab))
			ring->skip = block_header(slab)->num_pkts;
	}
}
