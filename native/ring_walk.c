/* SPDX-License-Identifier: MIT */
/*
 * The packets of one TPACKET_V3 block, in order.  No Python, no system calls:
 * only the block's memory is looked at, and nothing outside of it, whatever
 * is written there.  Layout: linux/if_packet.h.
 *
 * The kernel is trusted to write what is true.  It is still checked that what
 * it wrote lies in the block: a check costs less than a nanosecond, and a
 * mistake in either of us would show other memory to Python.
 */
#include "ring_walk.h"

#include <stdalign.h>

/*
 * Headers are fetched so many packets ahead, if all are of one size: where only
 * columns are filled, a packet takes a tenth of the time that memory does.
 */
enum { AHEAD = 8 };

void
walk_begin(struct walk *walk, const unsigned char *memory, size_t size,
	   uint32_t snaplen)
{
	const struct tpacket_block_desc *block = (const void *)memory;

	walk->memory = memory;
	walk->size = size;
	walk->at = 0;
	walk->left = 0;
	walk->snaplen = snaplen;
	if (size < sizeof(*block))
		return;
	walk->at = block->hdr.bh1.offset_to_first_pkt;
	walk->left = block->hdr.bh1.num_pkts;
}

/* Whether a header can be read there. */
static bool
header_fits(const struct walk *walk)
{
	return walk->size >= FRAME_HEADER &&
	       walk->at <= walk->size - FRAME_HEADER &&
	       walk->at % alignof(struct tpacket3_hdr) == 0;
}

static bool
bytes_fit(const struct walk *walk, const struct tpacket3_hdr *header)
{
	size_t room = walk->size - walk->at;

	return header->tp_mac >= FRAME_HEADER && header->tp_mac <= room &&
	       header->tp_snaplen <= room - header->tp_mac;
}

/*
 * False at the end, and where what comes next does not lie in the block:
 * then walk->left says how many the block should have had.
 */
bool
walk_next(struct walk *walk, struct frame *frame)
{
	const struct tpacket3_hdr *header;
	size_t ahead;

	if (walk->left == 0 || !header_fits(walk))
		return false;
	header = (const void *)(walk->memory + walk->at);
	if (!bytes_fit(walk, header))
		return false;
	frame->header = header;
	frame->bytes = walk->memory + walk->at + header->tp_mac;
	frame->length = header->tp_snaplen < walk->snaplen ? header->tp_snaplen
							   : walk->snaplen;
	walk->left--;
	if (header->tp_next_offset > walk->size - walk->at)
		walk->at = walk->size;
	else
		walk->at += header->tp_next_offset;
	/* Not the header that was just read, again and again. */
	if (header->tp_next_offset < FRAME_HEADER)
		walk->at = walk->size;
	ahead = AHEAD * (size_t)header->tp_next_offset;
	if (walk->at < walk->size && ahead < walk->size - walk->at)
		__builtin_prefetch(walk->memory + walk->at + ahead);
	return true;
}
