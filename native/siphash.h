/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_SIPHASH_H
#define AIOPROCKET_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

/* SipHash-2-4 of whole words: nobody without the key can predict it. */
uint64_t siphash(const uint64_t key[2], const uint64_t *words, size_t count);

#endif
