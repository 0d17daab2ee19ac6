/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_CLOCK_H
#define AIOPROCKET_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/* As time.monotonic_ns(). */
static inline int64_t
monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/*
 * What bounds a turn of calling back.  A look at the clock costs as much as a
 * small callback, so it is taken after each packet only where the last ones
 * took more than a part of the turn; else after up to so many.
 */
enum { CLOCK_PART = 40, CLOCK_UNTIMED = 16 };

struct turn_clock {
	int64_t ends;
	int64_t looked;		/* last */
	int64_t quick;		/* what is no more than this may go on unseen */
	int stride;		/* packets from one look to the next */
	int left;		/* of them */
};

/* The first look is the first-th; none is needed where there is no time. */
static inline struct turn_clock
clock_start(int64_t nanoseconds, int first)
{
	int64_t now = monotonic_ns();

	return (struct turn_clock){
		.ends = now + nanoseconds,
		.looked = now,
		.quick = nanoseconds / CLOCK_PART,
		.stride = 1,
		.left = nanoseconds > 0 ? first : 1,
	};
}

static inline bool
clock_is_over(struct turn_clock *clock)
{
	int64_t now;

	if (--clock->left > 0)
		return false;
	now = monotonic_ns();
	if (now - clock->looked > clock->quick)
		clock->stride = 1;
	else if (clock->stride < CLOCK_UNTIMED)
		clock->stride *= 2;
	clock->looked = now;
	clock->left = clock->stride;
	return now >= clock->ends;
}

#endif
