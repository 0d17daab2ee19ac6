/* SPDX-License-Identifier: MIT */
/*
 * Group: what one system call of a sender is given.
 *
 * Nothing is copied and little is held: a tuple holds the items, and they their
 * bytes, until the call is over.
 *
 * What is no packet or no address in a plain form ends a group before it.
 */
#include "group.h"

#include "packet.h"
#include "vnet.h"

static void
take_bytes(struct group *group, PyObject *data)
{
	struct iovec *vector = &group->vectors[group->used];
	Py_ssize_t length = 0;
	char *bytes = NULL;

	PyBytes_AsStringAndSize(data, &bytes, &length);
	vector->iov_base = bytes;
	vector->iov_len = (size_t)length;
}

static bool
take_view(struct group *group, PyObject *data)
{
	struct iovec *vector = &group->vectors[group->used];
	Py_buffer *view = &group->views[group->views_used];

	if (PyObject_GetBuffer(data, view, PyBUF_SIMPLE) < 0) {
		PyErr_Clear();
		return false;
	}
	group->views_used++;
	vector->iov_base = view->buf;
	vector->iov_len = (size_t)view->len;
	return true;
}

static bool
take_data(struct group *group, PyObject *data, PyTypeObject *packet_type)
{
	PyObject *bytes = PyBytes_Check(data) ? data : NULL;

	/* One that lies in a ring is sent from there. */
	if (Py_IS_TYPE(data, packet_type))
		bytes = ((struct packet *)data)->data;
	if (bytes == NULL)
		return take_view(group, data);
	take_bytes(group, bytes);
	return true;
}

/*
 * An address that a packet was received with goes back as the kernel wrote
 * it; one that Python gave it is read as every other.  false: not plain.
 */
static bool
name_sender(const struct sender *self, struct group *group,
	    struct packet *packet, socklen_t *length)
{
	union address *name = &group->names[group->used];
	PyObject *addr;

	*length = 0;
	packet_load(packet);
	if (packet->address.family != AF_UNSPEC) {
		if (packet->address.family != self->family)
			return false;
		*name = packet->address;
		*length = destination_size(self->family);
		return *length > 0;
	}
	addr = atomic_load(&packet->addr);
	if (addr == NULL || Py_IsNone(addr))
		return true;
	*length = destination_encode(name, self->fd, self->family, addr,
				     &group->interface);
	return *length > 0;
}

static socklen_t
encode(struct sender *self, struct group *group, PyObject *addr)
{
	union address *name = &group->names[group->used];
	socklen_t length =
		destination_find(&self->known, self->family, addr, name);

	if (length > 0)
		return length;
	return destination_encode(name, self->fd, self->family, addr,
				  &group->interface);
}

/* Of the data that was taken last; length: of the name, 0 without one. */
static void
add_message(struct group *group, socklen_t length)
{
	group->messages[group->used].msg_hdr = (struct msghdr){
		.msg_name = length > 0 ? &group->names[group->used] : NULL,
		.msg_namelen = length,
		.msg_iov = &group->vectors[group->used],
		.msg_iovlen = 1,
	};
	group->used++;
}

/* In the message that was added last, of the packet that it is of. */
static void
put_tag_back(struct group *group, struct packet *packet)
{
	struct msghdr *message = &group->messages[group->used - 1].msg_hdr;
	struct tag *tag = &group->tags[group->used - 1];

	packet_load(packet);
	if (packet->vlan_tpid == 0)
		return;
	message->msg_iovlen = tag_put_back(tag, *message->msg_iov,
					   packet->vlan_tci,
					   packet->vlan_tpid);
	message->msg_iov = tag->parts;
}

/* Adds one item to the group: false if it has to be sent in another way. */
static bool
add_item(struct sender *self, struct group *group, PyObject *item,
	 bool addressed)
{
	PyTypeObject *packet_type = self->state->packet_type;
	PyObject *data = item, *addr = NULL, *ancdata = NULL;
	socklen_t length = 0;

	if (PyBytes_CheckExact(item) && self->is_socket) {
		take_bytes(group, item);
		add_message(group, 0);
		return true;
	}
	if (PyTuple_Check(item)) {
		if (PyTuple_Size(item) != 2)
			return false;
		data = PyTuple_GetItem(item, 0);
		addr = PyTuple_GetItem(item, 1);
	}
	if (addr != NULL && !Py_IsNone(addr)) {
		length = encode(self, group, addr);
		if (length == 0)
			return false;
	} else if (addressed && Py_IS_TYPE(data, packet_type)) {
		if (!name_sender(self, group, (struct packet *)data, &length))
			return false;
	}
	if (Py_IS_TYPE(data, packet_type))
		ancdata = ((struct packet *)data)->ancdata;
	if (!self->is_socket &&
	    !vnet_put(group->headers[group->used], self->header, ancdata))
		return false;
	if (!take_data(group, data, packet_type))
		return false;
	add_message(group, length);
	if (self->tags && Py_IS_TYPE(data, packet_type))
		put_tag_back(group, (struct packet *)data);
	return true;
}

/* From the item at start on, as far as they go by one call. */
void
group_fill(struct group *group, struct sender *sender, PyObject *items,
	   Py_ssize_t start, bool addressed)
{
	Py_ssize_t size = PyTuple_Size(items);

	group->used = group->views_used = 0;
	for (Py_ssize_t at = start; at < size && group->used < GROUP; at++)
		if (!add_item(sender, group, PyTuple_GetItem(items, at),
			      addressed))
			break;
}

void
group_begin(struct group *group)
{
	group->interface.ifindex = 0;
}

void
group_release(struct group *group)
{
	for (int view = 0; view < group->views_used; view++)
		PyBuffer_Release(&group->views[view]);
}
