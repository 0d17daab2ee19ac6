/* SPDX-License-Identifier: MIT */
/*
 * Several datagrams that the kernel hands over in one (UDP_GRO), taken apart.
 *
 * They have the sender and the control messages of the one in common, its time
 * too, and all of them but the last have one size, which a control message
 * says (net/ipv4/udp.c, udp_cmsg_recv()).  Where more come than were asked for,
 * the rest waits in the channel's backlog.
 */
#include "coalesced.h"

#include "backlog.h"
#include "batch.h"
#include "receiver.h"

#include <netinet/in.h>
#include <string.h>

enum {
	UDP_GRO_OPTION = 104,	/* linux/udp.h */
	LARGEST = 65535,	/* of what UDP can carry, whatever it consists of */
};

static void
take_out(struct msghdr *message, struct cmsghdr *item)
{
	unsigned char *start = (unsigned char *)item;
	size_t before = (size_t)(start - (unsigned char *)message->msg_control);
	size_t space = CMSG_ALIGN(item->cmsg_len);
	size_t after = message->msg_controllen - before;

	space = space < after ? space : after;
	memmove(start, start + space, after - space);
	message->msg_controllen -= space;
}

/* The size in the control message, which is no more then; 0 without one. */
static size_t
take_segment_size(struct msghdr *message)
{
	struct cmsghdr *item;
	int size = 0;

	for (item = CMSG_FIRSTHDR(message); item != NULL;
	     item = CMSG_NXTHDR(message, item)) {
		if (item->cmsg_level != IPPROTO_UDP ||
		    item->cmsg_type != UDP_GRO_OPTION ||
		    item->cmsg_len < CMSG_LEN(sizeof(size)))
			continue;
		memcpy(&size, CMSG_DATA(item), sizeof(size));
		take_out(message, item);
		break;
	}
	return size > 0 ? (size_t)size : 0;
}

/* What batch_packet() and its like take: the next packet of those in flight. */
struct mmsghdr *
coalesced_next(struct flight *flight, struct alone *alone)
{
	const struct receiver *receiver = flight->receiver;
	struct mmsghdr *slot = flight->next;
	size_t left;

	if (receiver->rest == NULL)
		return flight->next++;
	if (flight->offset == 0)
		flight->segment = take_segment_size(&slot->msg_hdr);
	left = slot->msg_len - flight->offset;
	if (flight->segment == 0 || slot->msg_len > receiver->size ||
	    slot->msg_len <= flight->segment)
		return flight->next++;
	alone->slot = *slot;
	alone->data = (struct iovec){
		.iov_base = (char *)slot->msg_hdr.msg_iov->iov_base +
			    flight->offset,
		.iov_len = left < flight->segment ? left : flight->segment,
	};
	alone->slot.msg_hdr.msg_iov = &alone->data;
	alone->slot.msg_len = (unsigned)alone->data.iov_len;
	flight->offset += alone->data.iov_len;
	if (flight->offset == slot->msg_len) {
		flight->next++;
		flight->offset = 0;
	}
	return &alone->slot;
}

/*
 * All packets in flight: so many to the list, which the first of them make, and
 * the others to the rest.  How many the list got, or -1 with an exception.
 */
int
coalesced_gather(struct receiver *self, PyObject **packets,
		 struct flight *flight, Py_ssize_t wanted)
{
	int gathered = 0;

	if (*packets == NULL)
		*packets = PyList_New(0);
	while (*packets != NULL && flight->next < flight->end) {
		struct alone alone;
		PyObject *packet =
			batch_packet(self, coalesced_next(flight, &alone));
		int failed = -1;

		if (packet != NULL && gathered < wanted) {
			failed = PyList_Append(*packets, packet);
			gathered++;
		} else if (packet != NULL) {
			failed = backlog_append(self->rest, packet);
		}
		Py_XDECREF(packet);
		if (failed < 0)
			return -1;
	}
	return *packets == NULL ? -1 : gathered;
}

/* So many slots had all the packets since: as many are expected of the next. */
void
coalesced_learn(struct receiver *self, unsigned long long before, int filled)
{
	unsigned long long packets = self->packets - before;

	if (self->rest == NULL || filled <= 0)
		return;
	self->per_slot = (int)((packets + (unsigned)filled - 1) /
			       (unsigned)filled);
	if (self->per_slot < 1)
		self->per_slot = 1;
}

/* How many slots to offer for so many packets. */
int
coalesced_slots(const struct receiver *self, Py_ssize_t packets)
{
	Py_ssize_t slots = packets / self->per_slot;

	if (slots > SCRATCH_SLOTS)
		return SCRATCH_SLOTS;
	return slots > 0 ? (int)slots : 1;
}

PyObject *
coalesced_get_rest(PyObject *op, void *closure)
{
	struct receiver *self = (struct receiver *)op;

	(void)closure;
	return self->rest == NULL ? Py_NewRef(Py_None)
				  : Py_NewRef((PyObject *)self->rest);
}

int
coalesced_set_rest(PyObject *op, PyObject *value, void *closure)
{
	struct receiver *self = (struct receiver *)op;
	PyObject *before = (PyObject *)self->rest;

	(void)closure;
	if (value == NULL || !Py_IS_TYPE(value, self->state->backlog_type)) {
		PyErr_SetString(PyExc_TypeError, "the rest waits in a Backlog");
		return -1;
	}
	if (!self->is_socket || self->size < LARGEST) {
		PyErr_Format(PyExc_ValueError,
			     "coalesced datagrams come from sockets, and need "
			     "a size of %d", LARGEST);
		return -1;
	}
	self->rest = (struct backlog *)Py_NewRef(value);
	Py_XDECREF(before);
	return 0;
}
