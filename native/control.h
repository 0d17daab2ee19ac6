/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_CONTROL_H
#define AIOPROCKET_CONTROL_H

#include "packet.h"

#include <linux/if_packet.h>
#include <stdbool.h>
#include <sys/socket.h>

/* SO_RXQ_OVFL: what the socket's queue has dropped, a wrapping total. */
struct overflow {
	uint32_t total;
	bool seen;
};

enum { ANCDATA_SIZE = 48 };

/* The ancdata of the last packet that had one short message: often the same. */
struct last_ancdata {
	PyObject *ancdata;
	unsigned char message[ANCDATA_SIZE];
};

int control_read(struct msghdr *message, struct packet *packet,
		 struct overflow *overflow, struct last_ancdata *last);
size_t control_skim(struct msghdr *message, size_t wire_len,
		    struct overflow *overflow);
void control_read_vlan(struct packet *packet, uint32_t status, uint16_t tci,
		       uint16_t tpid);
void control_write(struct msghdr *message, const struct tpacket2_hdr *header);
void control_write_ttl(struct msghdr *message, uint8_t ttl);
void control_close_descriptors(struct msghdr *message);

#endif
