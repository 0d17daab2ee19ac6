/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_BATCH_H
#define AIOPROCKET_BATCH_H

#include "receiver.h"

#include <linux/if_packet.h>

PyObject *batch_list(struct receiver *self, struct mmsghdr *messages,
		     int filled);
int batch_append(struct receiver *self, PyObject *packets,
		 struct mmsghdr *messages, int filled);
PyObject *batch_packet(struct receiver *self, struct mmsghdr *slot);
PyObject *batch_datagram(struct receiver *self, struct mmsghdr *slot,
			 PyObject **addr);
PyObject *batch_frame(struct receiver *self, const struct tpacket2_hdr *header,
		      const struct sockaddr_ll *sender, size_t length);
void batch_discard(struct mmsghdr *slot, struct mmsghdr *end);

#endif
