/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_RING_WALK_H
#define AIOPROCKET_RING_WALK_H

#include <linux/if_packet.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One packet in a block: the kernel's header of it, and its bytes. */
struct frame {
	const struct tpacket3_hdr *header;
	const unsigned char *bytes;
	uint32_t length;
};

/* Where the next packet of a block is, and how many are left. */
struct walk {
	const unsigned char *memory;
	size_t size;
	size_t at;
	uint32_t left;
	uint32_t snaplen;
};

/* What lies before the bytes: the header, and behind it the sender. */
enum {
	FRAME_SENDER = (sizeof(struct tpacket3_hdr) + TPACKET_ALIGNMENT - 1) /
		       TPACKET_ALIGNMENT * TPACKET_ALIGNMENT,
	FRAME_HEADER = FRAME_SENDER + sizeof(struct sockaddr_ll),
};

void walk_begin(struct walk *walk, const unsigned char *memory, size_t size,
		uint32_t snaplen);
bool walk_next(struct walk *walk, struct frame *frame);

static inline const struct sockaddr_ll *
frame_sender(const struct tpacket3_hdr *header)
{
	const unsigned char *start = (const unsigned char *)header;

	return (const void *)(start + FRAME_SENDER);
}

static inline int64_t
frame_timestamp(const struct tpacket3_hdr *header)
{
	return (int64_t)header->tp_sec * 1000000000 + header->tp_nsec;
}

#endif
