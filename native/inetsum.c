/* SPDX-License-Identifier: MIT */
#include "inetsum.h"

#include <string.h>

static uint16_t
fold(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

uint16_t
inetsum_add(uint16_t one, uint16_t other)
{
	return fold((uint64_t)one + other);
}

/* In words of 32 bits, whose carries have room for 16 GiB of data. */
uint16_t
inetsum(const unsigned char *data, size_t length)
{
	uint64_t sum = 0;
	uint32_t word;

	for (; length >= sizeof(word); length -= sizeof(word)) {
		memcpy(&word, data, sizeof(word));
		sum += word;
		data += sizeof(word);
	}
	if (length > 0) {
		word = 0;
		memcpy(&word, data, length);
		sum += word;
	}
	return fold(sum);
}
