/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_POOL_LOCK_H
#define AIOPROCKET_POOL_LOCK_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/*
 * Around the few instructions by which something leaves a pool or comes back,
 * where no GIL sees to it.  No PyMutex: who had to wait for one would let go of
 * its critical sections meanwhile, and others would find what it is half done
 * with.
 */
#ifdef Py_GIL_DISABLED
#include <sched.h>
#include <stdatomic.h>

struct pool_lock {
	atomic_int taken;
};

static inline void
pool_lock(struct pool_lock *lock)
{
	while (atomic_exchange_explicit(&lock->taken, 1, memory_order_acquire))
		sched_yield();
}

static inline void
pool_unlock(struct pool_lock *lock)
{
	atomic_store_explicit(&lock->taken, 0, memory_order_release);
}
#else
struct pool_lock {
	char nothing;
};

static inline void
pool_lock(struct pool_lock *lock)
{
	(void)lock;
}

static inline void
pool_unlock(struct pool_lock *lock)
{
	(void)lock;
}
#endif

#endif
