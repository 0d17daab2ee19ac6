/* SPDX-License-Identifier: MIT */
/*
 * Packets whose bytes lie in a block of a ring, or in a copy of one: made in
 * a few nanoseconds, filled in when they are looked at, and moved out of there
 * when the block has to go back.
 */
#include "packet.h"
#include "ring_walk.h"

#include <string.h>

enum direction
packet_direction(unsigned char pkttype)
{
	switch (pkttype) {
	case PACKET_OUTGOING:
		return DIRECTION_OUT;
	case PACKET_BROADCAST:
		return DIRECTION_BROADCAST;
	case PACKET_MULTICAST:
		return DIRECTION_MULTICAST;
	case PACKET_OTHERHOST:
		return DIRECTION_OTHERHOST;
	default:
		return DIRECTION_IN;
	}
}

static void
put(struct packet *self, const struct frame *frame, uint64_t serial)
{
	self->bytes = frame->bytes;
	self->length = frame->length;
	self->header = frame->header;
	self->serial = serial;
}

/* A packet in a slab; NULL with an exception. */
struct packet *
packet_place(PyTypeObject *type, struct slab *slab, const struct frame *frame,
	     uint64_t serial)
{
	struct packet *self = packet_new(type, NULL);

	if (self == NULL)
		return NULL;
	put(self, frame, serial);
	self->slab = slab;
#ifdef Py_GIL_DISABLED
	/* Others could look at it while the block goes back. */
	self->next = NULL;
	self->link = &self->next;
	if (packet_move_out(self) < 0) {
		self->slab = NULL;
		Py_CLEAR(self);
	}
#else
	self->next = slab->packets;
	self->link = &slab->packets;
	if (self->next != NULL)
		self->next->link = &self->next;
	slab->packets = self;
#endif
	return self;
}

/* Whether nobody else has it, so that it can become another one there. */
bool
packet_is_ours(struct packet *self, const struct slab *slab)
{
#ifdef Py_GIL_DISABLED
	(void)self;
	(void)slab;
	return false;
#else
	return Py_REFCNT((PyObject *)self) == 1 && self->slab == slab;
#endif
}

/* Make another one of a packet that packet_is_ours(). */
void
packet_replace(struct packet *self, const struct frame *frame, uint64_t serial)
{
	if (self->changed) {
		/* An exchange would lock a bus that nobody else is on. */
		PyObject *addr = atomic_load_explicit(&self->addr,
						      memory_order_relaxed);

		atomic_store_explicit(&self->addr, NULL, memory_order_relaxed);
		Py_XDECREF(addr);
		Py_CLEAR(self->data);
		Py_CLEAR(self->ifname);
		self->changed = false;
	}
	put(self, frame, serial);
}

static void
load_sender(struct packet *self, const struct tpacket3_hdr *header)
{
	const struct sockaddr_ll *sender = frame_sender(header);
	size_t length = sizeof(*sender), room = sizeof(self->address);

	/* An InfiniBand address goes on behind the structure. */
	if (sender->sll_halen > sizeof(sender->sll_addr) &&
	    header->tp_mac >= FRAME_SENDER + room)
		length = room;
	memcpy(&self->address, sender, length);
	memset(self->address.raw + length, 0, room - length);
	self->ifindex = sender->sll_ifindex;
	self->direction = (uint8_t)packet_direction(sender->sll_pkttype);
}

/* Read what the kernel's header says, unless that was done. */
void
packet_load(struct packet *self)
{
	const struct tpacket3_hdr *header = self->header;

	if (header == NULL)
		return;
	self->header = NULL;
	self->timestamp_ns = frame_timestamp(header);
	self->wire_len = header->tp_len;
	self->truncated = header->tp_len > self->length;
	frame_tag(header, &self->vlan_tci, &self->vlan_tpid);
	load_sender(self, header);
}

/* When it came, without the rest of what the kernel says. */
int64_t
packet_timestamp(const struct packet *self)
{
	return self->header != NULL ? frame_timestamp(self->header)
				    : self->timestamp_ns;
}

/* Its bytes as bytes: a new reference, or NULL with an exception. */
PyObject *
packet_data(struct packet *self)
{
	if (self->data == NULL) {
		self->data = PyBytes_FromStringAndSize(
			(const char *)self->bytes, self->length);
		self->changed = true;
	}
	return Py_XNewRef(self->data);
}

/* It is not in its slab any more, which may be over by that. */
void
packet_leave(struct packet *self)
{
	struct slab *slab = self->slab;

	*self->link = self->next;
	if (self->next != NULL)
		self->next->link = self->link;
	self->slab = NULL;
	if (slab->packets == NULL)
		slab_settle(slab);
}

/* Copy what it shows out of the slab: 0, or -1 with an exception. */
int
packet_move_out(struct packet *self)
{
	struct slab *slab = self->slab;
	PyObject *data = packet_data(self);

	if (data == NULL)
		return -1;
	Py_DECREF(data);
	packet_load(self);
	if (self->ifname == NULL && self->address.family == AF_PACKET) {
		self->ifname = slab_ifname(slab, self->ifindex);
		if (self->ifname == NULL)
			return -1;
		self->changed = true;
	}
	self->bytes = (const unsigned char *)PyBytes_AsString(data);
	*self->link = self->next;
	if (self->next != NULL)
		self->next->link = self->link;
	self->slab = NULL;
	return 0;
}
