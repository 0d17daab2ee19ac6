/* SPDX-License-Identifier: MIT */
#include "arena.h"

#include <sys/mman.h>

static unsigned char *
arena_map(void)
{
	unsigned char *memory =
		mmap(NULL, ARENA_SIZE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

/* ARENA_SIZE bytes, of which those of earlier packets may be left; NULL with errno. */
unsigned char *
arena_take(struct arena_pool *pool)
{
	unsigned char *memory = NULL;

	pool_lock(&pool->lock);
	if (pool->count > 0)
		memory = pool->idle[--pool->count];
	pool_unlock(&pool->lock);
	return memory != NULL ? memory : arena_map();
}

void
arena_give(struct arena_pool *pool, unsigned char *memory)
{
	pool_lock(&pool->lock);
	if (pool->count < ARENAS_KEPT) {
		pool->idle[pool->count++] = memory;
		memory = NULL;
	}
	pool_unlock(&pool->lock);
	if (memory != NULL)
		munmap(memory, ARENA_SIZE);
}

void
arena_pool_drain(struct arena_pool *pool)
{
	while (pool->count > 0)
		munmap(pool->idle[--pool->count], ARENA_SIZE);
}
