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

#endif
