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
