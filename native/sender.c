/* SPDX-License-Identifier: MIT */
/*
 * Sender: packets to one non-blocking descriptor, many at a time.
 *
 * Nothing is copied: the kernel reads the memory of the objects that it is
 * given.  As in the receiver the GIL is kept, since no call here ever waits.
 *
 * What is no packet or no address in a plain form is not sent, and no error
 * is made of it: send() ends before it, and the caller sends it by the socket
 * module.
 */
#include "sender.h"

#include "critical.h"
#include "group.h"
#include "segmented.h"
#include "sender_batch.h"
#include "vnet.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <structmember.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* System calls */

/* Bytes are counted, packets are not. */
int
sender_transmit_plainly(struct sender *self, struct mmsghdr *messages, int count)
{
	int sent = 0;

	while (sent < count) {
		/* After a short count it is the next that says why. */
		int taken = sendmmsg(self->fd, messages + sent,
				     (unsigned)(count - sent), MSG_DONTWAIT);

		if (taken < 0) {
			self->failure = errno;
			break;
		}
		for (int slot = sent; slot < sent + taken; slot++)
			self->bytes += messages[slot].msg_len;
		sent += taken;
	}
	return sent;
}

/* To a socket, and counted: how many were taken; if not all self->failure says why. */
int
sender_transmit(struct sender *self, struct mmsghdr *messages, int count)
{
	int sent;

	self->failure = 0;
	sent = self->segments
		       ? segmented_transmit(self, messages, count)
		       : sender_transmit_plainly(self, messages, count);
	self->packets += (unsigned long long)sent;
	return sent;
}

/* To a device, and counted: whether it was taken; if not self->failure says why. */
bool
sender_write(struct sender *self, unsigned char *header,
	     const struct iovec *parts, size_t count)
{
	struct iovec all[1 + TAG_PARTS] = {{header, self->header}};
	ssize_t length;

	memcpy(all + 1, parts, count * sizeof(*parts));
	if (self->header > 0)
		length = writev(self->fd, all, 1 + (int)count);
	else if (count > 1)
		length = writev(self->fd, parts, (int)count);
	else
		length = write(self->fd, parts->iov_base, parts->iov_len);
	if (length < 0) {
		self->failure = errno;
		return false;
	}
	self->packets++;
	self->bytes += (unsigned long long)length - self->header;
	return true;
}

static int
write_group(struct sender *self, struct group *group)
{
	int sent = 0;

	for (; sent < group->used; sent++) {
		const struct msghdr *message = &group->messages[sent].msg_hdr;

		if (!sender_write(self, group->headers[sent], message->msg_iov,
				  message->msg_iovlen))
			break;
	}
	return sent;
}

/* Sends items from start on: how many were taken, -1 with an exception. */
static Py_ssize_t
send_items(struct sender *self, PyObject *items, Py_ssize_t start,
	   bool addressed)
{
	Py_ssize_t size = PyTuple_Size(items);
	Py_ssize_t at = start;
	struct group group;

	self->failure = 0;
	group_begin(&group);
	while (at < size) {
		int sent;

		group_fill(&group, self, items, at, addressed);
		sent = self->is_socket
			       ? sender_transmit(self, group.messages, group.used)
			       : write_group(self, &group);
		group_release(&group);
		at += sent;
		if (self->failure == EINTR) {
			self->failure = 0;
			if (PyErr_CheckSignals() < 0)
				return -1;
		} else if (sent < group.used || group.used == 0) {
			break;
		}
	}
	return at - start;
}

/* As send_items(), of a batch. */
static Py_ssize_t
send_batch(struct sender *self, struct batch *batch, Py_ssize_t start,
	   bool addressed)
{
	PyObject *items;
	Py_ssize_t sent;

	if (sender_batch_may(self, batch, addressed))
		return sender_batch_send(self, batch, start);
	items = PySequence_Tuple((PyObject *)batch);
	if (items == NULL)
		return -1;
	sent = send_items(self, items, start, addressed);
	Py_DECREF(items);
	return sent;
}

/* Python's side */

static PyObject *
sender_send(PyObject *op, PyObject *const *args, Py_ssize_t count)
{
	struct sender *self = (struct sender *)op;
	Py_ssize_t start, sent;
	bool is_batch;
	int addressed;

	is_batch = count == 3 && Py_IS_TYPE(args[0], self->state->batch_type);
	if (count != 3 || !(is_batch || PyTuple_Check(args[0]))) {
		PyErr_SetString(PyExc_TypeError,
				"send takes a tuple or a batch, a start and a flag");
		return NULL;
	}
	start = PyNumber_AsSsize_t(args[1], PyExc_OverflowError);
	if (start == -1 && PyErr_Occurred())
		return NULL;
	addressed = PyObject_IsTrue(args[2]);
	if (addressed < 0)
		return NULL;
	if (start < 0) {
		PyErr_Format(PyExc_ValueError,
			     "start must be at least 0, not %zd", start);
		return NULL;
	}
	BEGIN(op);
	if (start >= PyObject_Size(args[0]))
		sent = 0;
	else if (is_batch)
		sent = send_batch(self, (struct batch *)args[0], start,
				  addressed != 0);
	else
		sent = send_items(self, args[0], start, addressed != 0);
	END();
	return sent < 0 ? NULL : PyLong_FromSsize_t(sent);
}

static PyObject *
sender_construct(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *names[] = {"fd", "socket", "header", "segments", "tags", NULL};
	Py_ssize_t header = 0;
	struct sender *self;
	int fd, is_socket = 1, segments = 0, tags = 0;
	int family = AF_UNSPEC;
	socklen_t length = sizeof(family);

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "i|$pnpp:Sender", names,
					 &fd, &is_socket, &header, &segments, &tags) ||
	    !vnet_check_header(header, is_socket))
		return NULL;
	if (is_socket && getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family,
				    &length) < 0)
		return PyErr_SetFromErrno(PyExc_OSError);
	self = (struct sender *)PyType_GenericAlloc(type, 0);
	if (self == NULL)
		return NULL;
	self->state = PyType_GetModuleState(type);
	self->fd = fd;
	self->family = family;
	self->is_socket = is_socket != 0;
	self->segments = segments != 0 && is_socket != 0;
	self->tags = tags != 0;
	self->header = (size_t)header;
	return (PyObject *)self;
}

static void
sender_dealloc(PyObject *op)
{
	PyTypeObject *type = Py_TYPE(op);

	destination_forget(((struct sender *)op)->known);
	PyObject_Free(op);
	Py_DECREF(type);
}

static char sender_doc[] =
"Sender(fd, *, socket=True, header=0, segments=False,\n"
"       tags=False)\n"
"--\n"
"\n"
"Packets to a descriptor that belongs to somebody else.\n"
"\n"
"Args:\n"
"    fd: Open, and not closed by the sender. If no socket, non-blocking.\n"
"    socket: False for what is written by write(2), as a TUN device.\n"
"    header: Bytes of struct virtio_net_hdr, with padding, before each packet\n"
"        of a device: 10 to 64, or 0. A Packet's own is in its ancdata.\n"
"    segments: A UDP socket: consecutive datagrams of one size to one address\n"
"        go to the kernel in one, which cuts it (UDP_SEGMENT). The kernel is\n"
"        to know that: before Linux 4.18 it would send them as one.\n"
"    tags: What is sent are Ethernet frames: a Packet's VLAN tag is put back.\n"
"\n"
"Raises:\n"
"    OSError: The descriptor is not open, or not a socket.";

static char send_doc[] =
"send($self, items, start, addressed, /)\n"
"--\n"
"\n"
"Send a tuple's items in order, without waiting, until one is not taken.\n"
"\n"
"Args:\n"
"    items: Bytes-like objects, or pairs of one and an address or None; or a\n"
"        Batch.\n"
"    start: The first item to send.\n"
"    addressed: A Packet goes to the address that it carries.\n"
"\n"
"Returns:\n"
"    How many were taken. If not all, ``failure`` is the errno of the first\n"
"    that was not, or 0: then it is nothing that can be sent here, and the\n"
"    socket module sends it or says what it is.";

static PyMemberDef sender_members[] = {
	{"packets", T_ULONGLONG, offsetof(struct sender, packets), READONLY,
	 "Packets taken so far."},
	{"bytes", T_ULONGLONG, offsetof(struct sender, bytes), READONLY,
	 "Bytes in them."},
	{"segments", T_BOOL, offsetof(struct sender, segments), READONLY,
	 "Whether datagrams still go several in one: not after a device or IPsec "
	 "cannot do without their checksums (EIO)."},
	{"tags", T_BOOL, offsetof(struct sender, tags), READONLY,
	 "Whether the VLAN tag of a Packet is put back."},
	{"failure", T_INT, offsetof(struct sender, failure), READONLY,
	 "The errno that ended the last send(); 0: none did."},
	{NULL, 0, 0, 0, NULL},
};

static PyMethodDef sender_methods[] = {
	{"send", (PyCFunction)(void (*)(void))sender_send, METH_FASTCALL,
	 send_doc},
	{NULL, NULL, 0, NULL},
};

static PyType_Slot sender_slots[] = {
	{Py_tp_doc, sender_doc},
	{Py_tp_new, sender_construct},
	{Py_tp_dealloc, sender_dealloc},
	{Py_tp_members, sender_members},
	{Py_tp_methods, sender_methods},
	{0, NULL},
};

PyType_Spec sender_spec = {
	.name = "aioprocket._system._native.Sender",
	.basicsize = sizeof(struct sender),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = sender_slots,
};
