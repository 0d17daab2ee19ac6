/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_RING_WALK_H
#define AIOPROCKET_RING_WALK_H

#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <stdalign.h>
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
	/* What a walk reads of it ends here, in the next line of memory or not. */
	FRAME_READ = offsetof(struct tpacket3_hdr, tp_mac),
};

void walk_begin(struct walk *walk, const unsigned char *memory, size_t size,
		uint32_t snaplen);

/*
 * False at the end, and where what comes next does not lie in the block:
 * then walk->left says how many the block should have had.
 */
static inline bool
walk_next(struct walk *walk, struct frame *frame)
{
	const struct tpacket3_hdr *header;
	size_t room = walk->size - walk->at, next;

	if (walk->left == 0 || walk->at > walk->size || room < FRAME_HEADER ||
	    walk->at % alignof(struct tpacket3_hdr) != 0)
		return false;
	header = (const void *)(walk->memory + walk->at);
	if (header->tp_mac < FRAME_HEADER ||
	    (size_t)header->tp_mac + header->tp_snaplen > room)
		return false;
	frame->header = header;
	frame->bytes = walk->memory + walk->at + header->tp_mac;
	frame->length = header->tp_snaplen < walk->snaplen ? header->tp_snaplen
							   : walk->snaplen;
	walk->left--;
	/* Neither beyond the block, nor the header that was just read. */
	next = header->tp_next_offset;
	walk->at += next >= FRAME_HEADER && next < room ? next : room;
	return true;
}

/*
 * Fetch the header so many packets ahead, and what lies so far behind it, if
 * all are of one size: memory takes longer to come than a packet takes.
 */
static inline void
walk_fetch(const struct walk *walk, const struct frame *frame, size_t packets,
	   size_t behind)
{
	size_t ahead = packets * frame->header->tp_next_offset + behind;

	if (ahead < walk->size - walk->at)
		__builtin_prefetch(walk->memory + walk->at + ahead);
}

/* How far apart the last packets were, and how many in a row so far. */
struct stride {
	uint32_t bytes;
	uint32_t packets;
};

/* Whether so many packets were as far apart as the last two. */
static inline bool
stride_holds(struct stride *stride, const struct frame *frame, uint32_t packets)
{
	uint32_t bytes = frame->header->tp_next_offset;

	stride->packets = bytes == stride->bytes ? stride->packets + 1 : 0;
	stride->bytes = bytes;
	return stride->packets >= packets;
}

enum { FETCH_BEHIND = 4096, FETCH_LINE = 64 };

/*
 * As walk_fetch() where sizes differ, and the next headers may be anywhere:
 * all memory, a page ahead, and for each packet as much as it takes itself.
 */
static inline void
walk_fetch_all(const struct walk *walk, const struct frame *frame)
{
	const unsigned char *start = (const unsigned char *)frame->header;
	size_t at = (size_t)(start - walk->memory) + FETCH_BEHIND;
	size_t end = walk->at + FETCH_BEHIND;

	if (end > walk->size)
		end = walk->size;
	for (; at < end; at += FETCH_LINE)
		__builtin_prefetch(walk->memory + at);
}

static inline const struct sockaddr_ll *
frame_sender(const struct tpacket3_hdr *header)
{
	const unsigned char *start = (const unsigned char *)header;

	return (const void *)(start + FRAME_SENDER);
}

/* The tag that the kernel took out of the frame; 0 and 0 where there was none. */
static inline void
frame_tag(const struct tpacket3_hdr *header, uint16_t *tci, uint16_t *tpid)
{
	*tci = 0;
	*tpid = 0;
	if ((header->tp_status & TP_STATUS_VLAN_VALID) == 0)
		return;
	*tci = (uint16_t)header->hv1.tp_vlan_tci;
	*tpid = header->tp_status & TP_STATUS_VLAN_TPID_VALID
			? header->hv1.tp_vlan_tpid
			: ETH_P_8021Q;
}

static inline int64_t
frame_timestamp(const struct tpacket3_hdr *header)
{
	return (int64_t)header->tp_sec * 1000000000 + header->tp_nsec;
}

#endif
