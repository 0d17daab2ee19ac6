/* SPDX-License-Identifier: MIT */
/*
 * Who may still look at a block, and what becomes of what they see when the
 * kernel wants the block back.
 *
 * A kernel's ring stops at the first block that it does not get back, so
 * none is held for long: what is still needed of it is copied, packet by
 * packet or batch by batch.  A view that Python holds of the memory itself
 * cannot be moved.  Under it, the block's pages are replaced by a copy of
 * them (mremap(2)), and the ring sees the block through another mapping.
 */
#include "slab.h"

#include "arena.h"
#include "batch_type.h"
#include "packet.h"
#include "ring.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct names *
names_new(int fd)
{
	struct names *names = calloc(1, sizeof(*names));

	if (names != NULL) {
		atomic_init(&names->users, 1);
		names->fd = fd;
	}
	return names;
}

void
names_drop(struct names *names)
{
	if (atomic_fetch_sub(&names->users, 1) > 1)
		return;
	ifnames_free(names->table);
	senders_free(names->senders);
	free(names);
}

static void
lock(struct names *names)
{
#ifdef Py_GIL_DISABLED
	PyMutex_Lock(&names->lock);
#else
	(void)names;
#endif
}

static void
unlock(struct names *names)
{
#ifdef Py_GIL_DISABLED
	PyMutex_Unlock(&names->lock);
#else
	(void)names;
#endif
}

/* The name of an interface: a new reference, or NULL. */
PyObject *
slab_ifname(struct slab *slab, int ifindex)
{
	struct names *names = slab->names;
	PyObject *ifname;

	lock(names);
	ifname = ifnames_get(&names->table, names->fd, ifindex);
	unlock(names);
	return ifname;
}

/* The address of a packet(7) sender: a new reference, or NULL. */
PyObject *
slab_addr(struct slab *slab, const union address *address)
{
	struct names *names = slab->names;
	PyObject **known, *addr = NULL;
	PyObject *ifname = slab_ifname(slab, address->packet.sll_ifindex);

	if (ifname == NULL)
		return NULL;
	lock(names);
	known = senders_find(&names->senders, address);
	if (known != NULL && *known == NULL)
		*known = address_build(address, ifname);
	if (known != NULL)
		addr = Py_XNewRef(*known);
	unlock(names);
	Py_DECREF(ifname);
	return addr;
}

/* Owns memory then, unless it is a ring's; NULL without an exception. */
struct slab *
slab_new(enum slab_kind kind, unsigned char *memory, size_t size,
	 struct names *names)
{
	struct slab *slab = calloc(1, sizeof(*slab));

	if (slab == NULL)
		return NULL;
	slab->kind = kind;
	slab->memory = memory;
	slab->size = size;
	slab->used = size;
	slab->names = names;
	if (names != NULL)
		atomic_fetch_add(&names->users, 1);
	return slab;
}

static void
slab_free(struct slab *slab)
{
	if (slab->kind == SLAB_HEAP)
		free(slab->memory);
	if (slab->kind == SLAB_ARENA)
		arena_give(slab->arenas, slab->memory);
	if (slab->kind == SLAB_APART)
		munmap(slab->memory, slab->size);
	if (slab->names != NULL)
		names_drop(slab->names);
	free(slab);
}

/* Copy out the packets that can be; how many are left where they are. */
static int
move_packets(struct slab *slab)
{
	struct packet *packet = slab->packets;
	int left = 0;

	while (packet != NULL) {
		struct packet *next = packet->next;

		if (packet->exports > 0)
			left++;
		else if (packet_move_out(packet) < 0) {
			PyErr_Clear();
			left++;
		}
		packet = next;
	}
	return left;
}

/* Nobody pins it: it is over as soon as nobody looks at it. */
static void
finish(struct slab *slab)
{
	PyObject *type, *value, *traceback;
	int left;

	if (slab->kind == SLAB_RING && !slab->taken)
		return;
	/* Also called by a deallocation, in the midst of somebody's error. */
	PyErr_Fetch(&type, &value, &traceback);
	left = move_packets(slab);
	PyErr_Restore(type, value, traceback);
	if (left > 0 || slab->exports > 0)
		return;
	if (slab->kind == SLAB_RING)
		ring_release(slab->ring, slab);
	else
		slab_free(slab);
}

/* A pin, an export or a packet is gone. */
void
slab_settle(struct slab *slab)
{
	if (slab->pins == 0 && slab->exports == 0)
		finish(slab);
}

/* What has been written of it, in the heap; NULL with an exception. */
struct slab *
slab_copy(const struct slab *slab)
{
	unsigned char *memory = malloc(slab->used > 0 ? slab->used : 1);
	struct slab *copy = NULL;

	if (memory != NULL)
		copy = slab_new(SLAB_HEAP, memory, slab->used,
				slab->names);
	if (copy == NULL) {
		free(memory);
		PyErr_NoMemory();
		return NULL;
	}
	memcpy(memory, slab->memory, slab->used);
	return copy;
}

/* Batches that nobody has a view of go to a copy in the heap: 0, or -1. */
static int
move_batches(struct slab *slab)
{
	struct batch *batch, *next;
	struct slab *copy;
	int failed = 0;

	for (batch = slab->batches; batch != NULL; batch = batch->next)
		if (batch->exports == 0)
			break;
	if (batch == NULL)
		return 0;
	copy = slab_copy(slab);
	if (copy == NULL)
		return -1;
	copy->pins++;
	for (; batch != NULL && failed == 0; batch = next) {
		next = batch->next;
		if (batch->exports > 0)
			continue;
		failed = batch_name(batch);
		if (failed == 0)
			batch_move(batch, copy);
	}
	copy->pins--;
	slab_settle(copy);
	return failed;
}

/* From here on the ring may end before it. */
static void
set_apart(struct slab *slab)
{
	slab->kind = SLAB_APART;
	slab->ring = NULL;
}

/* The same bytes at the same address, but no longer the kernel's. */
static int
put_apart(struct slab *slab)
{
	unsigned char *copy = mmap(NULL, slab->size, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (copy == MAP_FAILED)
		return -1;
	memcpy(copy, slab->memory, slab->used);
	/* Whoever reads at this moment finds the one or the other. */
	if (mremap(copy, slab->size, slab->size, MREMAP_MAYMOVE | MREMAP_FIXED,
		   slab->memory) == MAP_FAILED) {
		munmap(copy, slab->size);
		return -1;
	}
	set_apart(slab);
	return 0;
}

/* Copy out what can be: whether nobody needs the block any more, or -1. */
static int
move_out(struct slab *slab)
{
	int failed;

	slab->pins++;
	failed = move_batches(slab);
	move_packets(slab);
	slab->pins--;
	if (failed < 0)
		return -1;
	return slab->pins == 0 && slab->exports == 0 && slab->packets == NULL;
}

/*
 * Give a block of a ring back, whoever needs what is in it.  0, or -1 with an
 * exception: the block is still held.
 */
int
slab_evict(struct slab *slab)
{
	struct ring *ring = slab->ring;
	int unneeded = move_out(slab);
	unsigned char *fresh;
	struct slab *block;

	if (unneeded < 0)
		return -1;
	if (unneeded) {
		ring_release(ring, slab);
		return 0;
	}
	fresh = ring_map_block(ring, slab->index);
	block = slab_new(SLAB_RING, fresh, slab->size, slab->names);
	if (block == NULL || fresh == NULL || put_apart(slab) < 0) {
		if (fresh != NULL)
			munmap(fresh, slab->size);
		if (block != NULL)
			slab_free(block);
		PyErr_NoMemory();
		return -1;
	}
	block->ring = ring;
	block->index = slab->index;
	ring_replace(ring, block);
	return 0;
}

/*
 * The ring ends: whether somebody still needs the block, which is its own to
 * free then.  Where there is no memory for a copy it keeps the shared memory,
 * and the kernel the socket, until nobody does.
 */
bool
slab_part(struct slab *slab)
{
	int unneeded = move_out(slab);

	if (unneeded < 0)
		PyErr_Clear();
	if (unneeded > 0) {
		slab->taken = false;
		return false;
	}
	if (put_apart(slab) < 0)
		set_apart(slab);
	return true;
}
