/* SPDX-License-Identifier: MIT */
/*
 * The VLAN tag of a frame, which the kernel takes out of its bytes when it is
 * received (skb_vlan_untag() in net/core/skbuff.c), and which has to be there
 * again when the frame is sent on.
 */
#include "tag.h"

enum { ADDRESSES = 12 };	/* of Ethernet: the tag comes behind them */

/* How many of the parts are used: without a tag (tpid 0) the frame is one. */
size_t
tag_put_back(struct tag *tag, struct iovec frame, uint16_t tci, uint16_t tpid)
{
	tag->parts[0] = frame;
	if (tpid == 0 || frame.iov_len < ADDRESSES)
		return 1;
	tag->bytes[0] = (unsigned char)(tpid >> 8);
	tag->bytes[1] = (unsigned char)tpid;
	tag->bytes[2] = (unsigned char)(tci >> 8);
	tag->bytes[3] = (unsigned char)tci;
	tag->parts[0].iov_len = ADDRESSES;
	tag->parts[1] = (struct iovec){tag->bytes, sizeof(tag->bytes)};
	tag->parts[2] = (struct iovec){
		.iov_base = (char *)frame.iov_base + ADDRESSES,
		.iov_len = frame.iov_len - ADDRESSES,
	};
	return TAG_PARTS;
}
