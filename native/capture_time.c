/* SPDX-License-Identifier: MIT */
/*
 * Times of a capture file in nanoseconds: it counts fractions of a second, which
 * are powers of ten or of two, from a moment of its own.
 */
#include "capture.h"

static const int64_t powers[] = {
	1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000,
	1000000000,
};
enum { NANO = 9, DIVISORS_MOST = 2 * NANO };

/* Binary fractions of a second, as nanoseconds; 0: more than fit. */
static uint64_t
from_binary(uint64_t ticks, unsigned int power)
{
	uint64_t seconds, rest;

	if (power >= 64)
		return 0;
	seconds = ticks >> power;
	rest = ticks - (seconds << power);
	if (seconds > (uint64_t)(INT64_MAX / powers[NANO]))
		return UINT64_MAX;
	/* 30 bits for the factor: 34 of the rest stay. */
	if (power > 34) {
		rest >>= power - 34;
		power = 34;
	}
	return seconds * (uint64_t)powers[NANO] +
	       (rest * (uint64_t)powers[NANO] >> power);
}

static uint64_t
from_decimal(uint64_t ticks, unsigned int power)
{
	uint64_t factor;

	if (power > DIVISORS_MOST)
		return 0;
	if (power > NANO)
		return ticks / (uint64_t)powers[power - NANO];
	factor = (uint64_t)powers[NANO - power];
	return ticks > UINT64_MAX / factor ? UINT64_MAX : ticks * factor;
}

/* Whether C can say: false leaves it to Python, which has longer numbers. */
bool
capture_time(int64_t *timestamp_ns, uint64_t ticks, uint32_t resolution,
	     int64_t seconds)
{
	unsigned int power = resolution & 0x7f;
	bool binary = resolution & 0x80;
	uint64_t since;
	int64_t offset;

	if ((binary && power > 34) || (!binary && power > DIVISORS_MOST))
		return false;
	since = binary ? from_binary(ticks, power) : from_decimal(ticks, power);
	if (since > INT64_MAX)
		return false;
	return !__builtin_mul_overflow(seconds, powers[NANO], &offset) &&
	       !__builtin_add_overflow((int64_t)since, offset, timestamp_ns);
}
