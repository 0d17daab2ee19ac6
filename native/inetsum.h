/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_INETSUM_H
#define AIOPROCKET_INETSUM_H

#include <stddef.h>
#include <stdint.h>

/*
 * The sum of RFC 1071, of 16-bit words as they lie in memory, whichever way
 * this machine reads them; so it needs no byte order.
 */
uint16_t inetsum(const unsigned char *data, size_t length);
uint16_t inetsum_add(uint16_t one, uint16_t other);

#endif
