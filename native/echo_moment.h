/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_ECHO_MOMENT_H
#define AIOPROCKET_ECHO_MOMENT_H

/* The clocks, as nanoseconds. */

#include <stdint.h>
#include <time.h>

static inline int64_t
nanoseconds(const struct timespec *moment)
{
	return (int64_t)moment->tv_sec * 1000000000 + moment->tv_nsec;
}

static inline int64_t
clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return nanoseconds(&now);
}

/*
 * Both clocks at one moment.  Whoever is interrupted between the two readings
 * would take the pause for a step of the clock that can be set.
 */
static inline void
read_clocks(int64_t *monotonic_ns, int64_t *realtime_ns)
{
	enum { MOST_NS = 20000, TRIES = 8 };

	for (int tries = 0; tries < TRIES; tries++) {
		int64_t before = clock_ns(CLOCK_MONOTONIC);

		*realtime_ns = clock_ns(CLOCK_REALTIME);
		*monotonic_ns = clock_ns(CLOCK_MONOTONIC);
		if (*monotonic_ns - before <= MOST_NS)
			return;
	}
}

#endif
