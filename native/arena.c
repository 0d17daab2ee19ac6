/* SPDX-License-Identifier: MIT */
#include "arena.h"

#include <sys/mman.h>

static void
lock(struct arena_pool *pool)
{
#ifdef Py_GIL_DISABLED
	PyMutex_Lock(&pool->lock);
#else
	(void)pool;
#endif
}

static void
unlock(struct arena_pool *pool)
{
#ifdef Py_GIL_DISABLED
	PyMutex_Unlock(&pool->lock);
#else
	(void)pool;
#endif
}

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

	lock(pool);
	if (pool->count > 0)
		memory = pool->idle[--pool->count];
	unlock(pool);
	return memory != NULL ? memory : arena_map();
}

void
arena_give(struct arena_pool *pool, unsigned char *memory)
{
	lock(pool);
	if (pool->count < ARENAS_KEPT) {
		pool->idle[pool->count++] = memory;
		memory = NULL;
	}
	unlock(pool);
	if (memory != NULL)
		munmap(memory, ARENA_SIZE);
}

void
arena_pool_drain(struct arena_pool *pool)
{
	while (pool->count > 0)
		munmap(pool->idle[--pool->count], ARENA_SIZE);
}
