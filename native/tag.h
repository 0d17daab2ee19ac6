/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_TAG_H
#define AIOPROCKET_TAG_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

enum { TAG_PARTS = 3 };

/* A frame with its VLAN tag, in parts; nothing of the frame is copied. */
struct tag {
	struct iovec parts[TAG_PARTS];
	unsigned char bytes[4];
};

size_t tag_put_back(struct tag *tag, struct iovec frame, uint16_t tci,
		    uint16_t tpid);

#endif
