/* SPDX-License-Identifier: MIT */
/*
 * What a system call left in the scratch, made into packets and counted.
 */
#include "batch.h"

#include "packet.h"

#include <string.h>

static int
read_sender(struct receiver *self, struct packet *packet,
	    const struct msghdr *message)
{
	const struct sockaddr *name = message->msg_name;
	size_t length = message->msg_namelen;

	if (length < sizeof(name->sa_family))
		return 0;
	if (name->sa_family == AF_UNIX) {
		PyObject *addr = address_build_unix(name, length);

		atomic_init(&packet->addr, addr);
		return addr == NULL ? -1 : 0;
	}
	if (length > sizeof(packet->address))
		length = sizeof(packet->address);
	memcpy(&packet->address, name, length);
	if (name->sa_family == AF_PACKET) {
		const struct sockaddr_ll *link = &packet->address.packet;

		packet->ifindex = link->sll_ifindex;
		packet->direction = (uint8_t)packet_direction(link->sll_pkttype);
		packet->ifname = ifnames_get(
			&self->ifnames, self->fd, link->sll_ifindex);
		return packet->ifname == NULL ? -1 : 0;
	}
	return 0;
}

static PyObject *
build_packet(struct receiver *self, struct mmsghdr *slot)
{
	struct msghdr *message = &slot->msg_hdr;
	/* With MSG_TRUNC, msg_len is what there was: more than fitted in. */
	size_t length = slot->msg_len < self->size ? slot->msg_len : self->size;
	PyObject *data = PyBytes_FromStringAndSize(message->msg_iov->iov_base,
						   (Py_ssize_t)length);
	struct packet *packet;

	if (data == NULL)
		return NULL;
	packet = packet_new(self->state->packet_type, data);
	if (packet == NULL)
		return NULL;
	packet->wire_len = slot->msg_len;
	if (read_sender(self, packet, message) < 0 ||
	    control_read(message, packet, &self->overflow) < 0) {
		Py_DECREF(packet);
		return NULL;
	}
	packet->truncated = packet->wire_len > length ||
			    (message->msg_flags & MSG_TRUNC) != 0;
	self->packets++;
	self->bytes += length;
	self->truncated += packet->truncated ? 1 : 0;
	return (PyObject *)packet;
}

/* Appends count packets to a list: 0, or -1 with an exception. */
int
batch_append(struct receiver *self, PyObject *packets,
	     struct mmsghdr *messages, int count)
{
	for (int slot = 0; slot < count; slot++) {
		PyObject *packet = build_packet(self, &messages[slot]);
		int failed = packet == NULL ? -1
					    : PyList_Append(packets, packet);

		Py_XDECREF(packet);
		if (failed < 0) {
			/* Also of those built: nobody will see the list. */
			for (slot = 0; slot < count; slot++)
				control_close_descriptors(
					&messages[slot].msg_hdr);
			return -1;
		}
	}
	return 0;
}
