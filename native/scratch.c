/* SPDX-License-Identifier: MIT */
#include "scratch.h"

#include <sys/mman.h>

/* The kernel overwrites both lengths with what it used (recvmsg(2)). */
static void
reset_slot(struct scratch *scratch, int slot)
{
	struct msghdr *message = &scratch->messages[slot].msg_hdr;

	message->msg_namelen = sizeof(scratch->names[slot]);
	message->msg_controllen = sizeof(scratch->control[slot]);
}

/*
 * Slots lie as close as size permits, so that small ones share few pages, and
 * one cache line further apart than a power of two, so that the beginnings of
 * large ones do not all compete for the same cache set.
 */
static void
set_size(struct scratch *scratch, size_t size)
{
	size_t lines = (size + SCRATCH_LINE - 1) / SCRATCH_LINE;
	size_t stride = (lines | 1) * SCRATCH_LINE;

	for (int slot = 0; slot < SCRATCH_SLOTS; slot++) {
		scratch->vectors[slot].iov_base =
			scratch->data + (size_t)slot * stride;
		scratch->vectors[slot].iov_len = size;
	}
	scratch->size = size;
}

static struct scratch *
scratch_map(void)
{
	struct scratch *scratch =
		mmap(NULL, sizeof(*scratch), PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (scratch == MAP_FAILED)
		return NULL;
	/* One packet must not make 2 MiB resident. */
	madvise(scratch, sizeof(*scratch), MADV_NOHUGEPAGE);
	for (int slot = 0; slot < SCRATCH_SLOTS; slot++) {
		struct msghdr *message = &scratch->messages[slot].msg_hdr;

		message->msg_name = &scratch->names[slot];
		message->msg_iov = &scratch->vectors[slot];
		message->msg_iovlen = 1;
		message->msg_control = scratch->control[slot];
		reset_slot(scratch, slot);
	}
	return scratch;
}

/* Slots ready for packets of up to size bytes; NULL with errno. */
struct scratch *
scratch_take(struct scratch_pool *pool, size_t size)
{
	struct scratch *scratch;

	pool_lock(&pool->lock);
	scratch = pool->idle;
	if (scratch != NULL)
		pool->idle = scratch->next;
	pool_unlock(&pool->lock);

	if (scratch == NULL)
		scratch = scratch_map();
	if (scratch != NULL && scratch->size != size)
		set_size(scratch, size);
	return scratch;
}

void
scratch_give(struct scratch_pool *pool, struct scratch *scratch)
{
	for (int slot = 0; slot < scratch->used; slot++)
		reset_slot(scratch, slot);
	scratch->used = 0;

	pool_lock(&pool->lock);
	scratch->next = pool->idle;
	pool->idle = scratch;
	pool_unlock(&pool->lock);
}

void
scratch_pool_drain(struct scratch_pool *pool)
{
	while (pool->idle != NULL) {
		struct scratch *scratch = pool->idle;

		pool->idle = scratch->next;
		munmap(scratch, sizeof(*scratch));
	}
}
