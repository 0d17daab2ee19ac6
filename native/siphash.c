/* SPDX-License-Identifier: MIT */
/*
 * Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012.
 * Only data of whole 64-bit words, in the order of this machine's memory read
 * as little-endian numbers, is hashed here.
 */
#include "siphash.h"

struct lanes {
	uint64_t a, b, c, d;
};

static uint64_t
rotate(uint64_t value, int bits)
{
	return value << bits | value >> (64 - bits);
}

static void
mix(struct lanes *v, int rounds)
{
	while (rounds-- > 0) {
		v->a += v->b;
		v->c += v->d;
		v->b = rotate(v->b, 13) ^ v->a;
		v->d = rotate(v->d, 16) ^ v->c;
		v->a = rotate(v->a, 32);
		v->c += v->b;
		v->a += v->d;
		v->b = rotate(v->b, 17) ^ v->c;
		v->d = rotate(v->d, 21) ^ v->a;
		v->c = rotate(v->c, 32);
	}
}

static void
absorb(struct lanes *v, uint64_t word)
{
	v->d ^= word;
	mix(v, 2);
	v->a ^= word;
}

uint64_t
siphash(const uint64_t key[2], const uint64_t *words, size_t count)
{
	struct lanes v = {
		key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d,
		key[0] ^ 0x6c7967656e657261, key[1] ^ 0x7465646279746573,
	};

	for (size_t at = 0; at < count; at++)
		absorb(&v, words[at]);
	absorb(&v, (uint64_t)(count * sizeof(*words)) << 56);
	v.c ^= 0xff;
	mix(&v, 4);
	return v.a ^ v.b ^ v.c ^ v.d;
}
