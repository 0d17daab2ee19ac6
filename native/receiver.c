/* SPDX-License-Identifier: MIT */
/*
 * Receiver: packets from one non-blocking descriptor, many at a time.
 *
 * The system call and the Python call around it cost more than what is done
 * for a packet, so recvmmsg() fetches up to 64 at once.  The GIL is kept,
 * since no call here ever waits.
 */
#include "receiver.h"

#include "backlog.h"
#include "batch.h"
#include "coalesced.h"
#include "critical.h"
#include "dispatch.h"
#include "fill.h"
#include "frames.h"
#include "piece.h"
#include "vnet.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <structmember.h>

enum { DEFAULT_SIZE = 65535 };

/*
 * The packets in the scratch to the list, which the first of them make: how
 * many, no more than are missing; -1 with an exception.
 */
static int
gather(struct receiver *self, PyObject **packets, struct scratch *scratch,
       int filled, Py_ssize_t missing)
{
	struct flight flight = {
		.receiver = self,
		.next = scratch->messages,
		.end = scratch->messages + filled,
	};

	if (self->rest != NULL)
		return coalesced_gather(self, packets, &flight, missing);
	if (*packets != NULL)
		return batch_append(self, *packets, scratch->messages,
				    filled) < 0 ? -1 : filled;
	*packets = batch_list(self, scratch->messages, filled);
	return *packets == NULL ? -1 : filled;
}

/*
 * One round of system calls into so many slots: how many were filled, and what
 * is missing then; -1 with an exception.
 */
static int
receive_some(struct receiver *self, PyObject **packets, int wanted,
	     Py_ssize_t *missing)
{
	struct scratch_pool *pool = &self->state->scratch;
	struct scratch *scratch = scratch_take(pool, self->size);
	unsigned long long before = self->bytes, packets_before = self->packets;
	int filled, gathered;

	if (scratch == NULL) {
		PyErr_NoMemory();
		return -1;
	}
	filled = fill(self, scratch, wanted);
	gathered = gather(self, packets, scratch, filled, *missing);
	scratch_give(pool, scratch);
	if (gathered < 0)
		return -1;
	*missing -= gathered;
	coalesced_learn(self, packets_before, filled);
	if (filled > 0)
		self->typical =
			(size_t)(self->bytes - before) / (size_t)filled + 1;
	return filled;
}

static int
receive_into(struct receiver *self, PyObject **packets, Py_ssize_t count)
{
	Py_ssize_t missing = count;
	unsigned long long start = self->bytes;

	if (self->failure != NO_FAILURE)
		return fill_settle(self);
	while (missing > 0 && self->bytes - start < BATCH_BYTES) {
		size_t room = BATCH_BYTES - (size_t)(self->bytes - start);
		/* A device is read by packets, so one slot stays in the cache. */
		int wanted = self->is_socket ? fill_slots(self, missing, room)
					     : 1;
		int filled = receive_some(self, packets, wanted, &missing);

		if (filled < 0)
			return -1;
		/* Rather a short list than one whose last slot is the rest's. */
		if (filled == wanted && missing >= self->per_slot)
			continue;
		if (missing < count)
			break;
		if (fill_settle(self) <= 0)
			return PyErr_Occurred() != NULL ? -1 : 0;
	}
	/* Not lost: what these two stand for is met again by the next call. */
	if (self->failure == EAGAIN || self->failure == EINTR)
		self->failure = NO_FAILURE;
	return 0;
}

/* Python's side */

/* Up to so many packets as a list, also of none; NULL with an exception. */
PyObject *
receiver_take(struct receiver *self, Py_ssize_t count)
{
	PyObject *packets = NULL;

	if (receive_into(self, &packets, count) < 0)
		Py_CLEAR(packets);
	else if (packets == NULL)
		packets = PyList_New(0);
	return packets;
}

/* A number of packets; -1 with an exception. */
static Py_ssize_t
read_count(PyObject *argument)
{
	Py_ssize_t count = PyNumber_AsSsize_t(argument, PyExc_OverflowError);

	if (count >= 1 || (count == -1 && PyErr_Occurred()))
		return count;
	PyErr_Format(PyExc_ValueError, "count must be at least 1, not %zd",
		     count);
	return -1;
}

static PyObject *
receiver_take_piece(PyObject *op, PyObject *argument)
{
	Py_ssize_t count = read_count(argument);
	PyObject *batch;

	if (count < 0)
		return NULL;
	BEGIN(op);
	batch = piece_take((struct receiver *)op, count);
	END();
	return batch;
}

static PyObject *
receiver_receive(PyObject *op, PyObject *argument)
{
	Py_ssize_t count = read_count(argument);
	PyObject *packets;

	if (count < 0)
		return NULL;
	BEGIN(op);
	packets = receiver_take((struct receiver *)op, count);
	END();
	return packets;
}

static int
get_option(int fd, int option, int *value)
{
	socklen_t length = sizeof(*value);

	if (getsockopt(fd, SOL_SOCKET, option, value, &length) < 0) {
		PyErr_SetFromErrno(PyExc_OSError);
		return -1;
	}
	return 0;
}

static int
prepare_socket(struct receiver *self)
{
	int type, domain;

	if (get_option(self->fd, SO_TYPE, &type) < 0 ||
	    get_option(self->fd, SO_DOMAIN, &domain) < 0)
		return -1;
	self->is_socket = true;
	self->zero_is_end = type == SOCK_STREAM || type == SOCK_SEQPACKET;
	self->flags = MSG_DONTWAIT;
	/* On a stream, MSG_TRUNC would throw the data away (tcp(7)). */
	if (type != SOCK_STREAM)
		self->flags |= MSG_TRUNC;
	/* Only these pass descriptors; a packet socket answers EINVAL. */
	if (domain == AF_UNIX)
		self->flags |= MSG_CMSG_CLOEXEC;
	return 0;
}

static int
prepare_device(struct receiver *self)
{
	int flags = fcntl(self->fd, F_GETFL);

	if (flags < 0) {
		PyErr_SetFromErrno(PyExc_OSError);
		return -1;
	}
	if ((flags & O_NONBLOCK) == 0) {
		PyErr_Format(PyExc_ValueError,
			     "descriptor %d must be non-blocking", self->fd);
		return -1;
	}
	self->is_socket = false;
	return 0;
}

static int
prepare_frames(struct receiver *self, Py_ssize_t frame_size, Py_ssize_t frames)
{
	if (frame_size < FRAMES_SMALLEST || frame_size % TPACKET_ALIGNMENT != 0 ||
	    frames > UINT32_MAX || frames > PY_SSIZE_T_MAX / frame_size) {
		PyErr_Format(PyExc_ValueError, "no ring has %zd frames of %zd",
			     frames, frame_size);
		return -1;
	}
	self->frames = frames_map(self->fd, (size_t)frame_size, (size_t)frames);
	if (self->frames == NULL) {
		PyErr_SetFromErrno(PyExc_OSError);
		return -1;
	}
	return 0;
}

static PyObject *
receiver_construct(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *names[] = {"fd", "size", "socket", "skip_ip_header",
				"header", "frame_size", "frames", NULL};
	Py_ssize_t size = DEFAULT_SIZE, header = 0, frame_size = 0, frames = 0;
	int fd, is_socket = 1, skip_ip_header = 0;
	struct receiver *self;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "i|$nppnnn:Receiver",
					 names, &fd, &size, &is_socket,
					 &skip_ip_header, &header, &frame_size,
					 &frames) ||
	    !vnet_check_header(header, is_socket))
		return NULL;
	if (size < 1 || size > SCRATCH_MAX_SIZE) {
		PyErr_Format(PyExc_ValueError, "size must be 1 to %d, not %zd",
			     SCRATCH_MAX_SIZE, size);
		return NULL;
	}
	self = (struct receiver *)PyType_GenericAlloc(type, 0);
	if (self == NULL)
		return NULL;
	self->state = PyType_GetModuleState(type);
	self->fd = fd;
	self->size = (size_t)size + (size_t)header;
	self->header = (size_t)header;
	self->typical = 1;
	self->per_slot = 1;
	self->skip_ip_header = skip_ip_header != 0;
	if ((is_socket ? prepare_socket(self) : prepare_device(self)) < 0 ||
	    (frames > 0 && prepare_frames(self, frame_size, frames) < 0)) {
		Py_DECREF(self);
		return NULL;
	}
	return (PyObject *)self;
}

static void
receiver_dealloc(PyObject *op)
{
	struct receiver *self = (struct receiver *)op;
	PyTypeObject *type = Py_TYPE(op);

	frames_unmap(self->frames);
	Py_XDECREF(self->last_ancdata.ancdata);
	ifnames_free(self->ifnames);
	senders_free(self->senders);
	Py_XDECREF((PyObject *)self->rest);
	PyObject_Free(self);
	Py_DECREF(type);
}

static PyObject *
get_overflow(PyObject *op, void *closure)
{
	struct receiver *self = (struct receiver *)op;

	(void)closure;
	if (!self->overflow.seen)
		Py_RETURN_NONE;
	return PyLong_FromUnsignedLong(self->overflow.total);
}

static PyObject *
get_queued(PyObject *op, void *closure)
{
	struct receiver *self = (struct receiver *)op;
	unsigned long long queued = 0;

	(void)closure;
	BEGIN(op);
	if (self->frames != NULL)
		queued = frames_queued(self->frames);
	END();
	return PyLong_FromUnsignedLongLong(queued);
}

static PyObject *
receiver_forget(PyObject *op, PyObject *unused)
{
	struct receiver *self = (struct receiver *)op;

	(void)unused;
	if (self->frames != NULL)
		frames_forget(self);
	Py_RETURN_NONE;
}

static PyObject *
receiver_close(PyObject *op, PyObject *unused)
{
	struct receiver *self = (struct receiver *)op;

	(void)unused;
	frames_unmap(self->frames);
	self->frames = NULL;
	self->fd = -1;
	Py_RETURN_NONE;
}

static char receiver_doc[] =
"Receiver(fd, *, size=65535, socket=True, skip_ip_header=False, header=0,\n"
"         frame_size=0, frames=0)\n"
"--\n"
"\n"
"Packets from a descriptor that belongs to somebody else.\n"
"\n"
"Args:\n"
"    fd: Open, and not closed by the receiver. If no socket, non-blocking.\n"
"    size: Bytes kept of a packet, 1 to 262144; the rest is cut off.\n"
"    socket: False for what is read by read(2), as a TUN device.\n"
"    skip_ip_header: Packets start behind their IPv4 header, which says who\n"
"        sent them and what their time to live is: (IPPROTO_IP, IP_TTL) in\n"
"        ancdata. Of raw IPv4 sockets only.\n"
"    header: Bytes of struct virtio_net_hdr, with padding, before each packet\n"
"        of a device: 10 to 64, or 0. A checksum that it leaves open is\n"
"        filled in; of a packet larger than one on the wire (GSO) the header\n"
"        is kept in ancdata as (SOL_PACKET, PACKET_VNET_HDR, 10 bytes).\n"
"    frame_size: Bytes of a frame, as the ring of a packet socket was made.\n"
"    frames: How many it has (TPACKET_V2); 0: it has none, and packets are read\n"
"        by system calls.\n"
"\n"
"Raises:\n"
"    OSError: The descriptor is not open, or not a socket. ``ENOMEM``: there is\n"
"        no room to map the ring. ``EBADF``, from a method: it is closed, or of\n"
"        a ring, and this is a fork of the process that made it.\n"
"    ValueError: A size out of bounds, or a device that would block.";

static char receive_doc[] =
"receive($self, count, /)\n"
"--\n"
"\n"
"Return up to count packets that wait, oldest first, without waiting.\n"
"\n"
"Returns:\n"
"    A list of Packet, empty only when there is nothing. A list of about\n"
"    112 KiB ends there, so a short one does not mean that all is read.\n"
"\n"
"Raises:\n"
"    OSError: From the system. Packets that came before it are returned\n"
"        first, and the error by the next call.\n"
"    EOFError: A device, stream or seqpacket socket is at its end.";

static PyMemberDef receiver_members[] = {
	{"packets", T_ULONGLONG, offsetof(struct receiver, packets), READONLY,
	 "Packets received so far."},
	{"bytes", T_ULONGLONG, offsetof(struct receiver, bytes), READONLY,
	 "Bytes of data in them, without what was cut off."},
	{"truncated", T_ULONGLONG, offsetof(struct receiver, truncated),
	 READONLY, "How many of them were cut."},
	{NULL, 0, 0, 0, NULL},
};

static PyGetSetDef receiver_getset[] = {
	{"overflow", get_overflow, NULL,
	 "Packets that the socket's queue had to drop, modulo 2**32, as of the "
	 "last packet that told (SO_RXQ_OVFL); None until one does.", NULL},
	{"queued", get_queued, NULL,
	 "Bytes that waiting packets take in the ring; 0 without one.", NULL},
	{"rest", coalesced_get_rest, coalesced_set_rest,
	 "A Backlog: datagrams that the kernel hands over in one (UDP_GRO) are "
	 "taken apart, and those above the number that was asked for wait there. "
	 "It is to be empty when more are asked for. None: they are not.", NULL},
	{NULL, NULL, NULL, NULL, NULL},
};

DEFINE_ALONE(receiver_forget)
DEFINE_ALONE(receiver_close)

static PyMethodDef receiver_methods[] = {
	{"receive", receiver_receive, METH_O, receive_doc},
	{"take", receiver_take_piece, METH_O,
	 "take($self, count, /)\n--\n\nAs receive, in one piece: a Batch, or "
	 "None for nothing."},
	{"dispatch", dispatch, METH_VARARGS, dispatch_doc},
	{"forget", ALONE(receiver_forget), METH_NOARGS,
	 "forget($self, /)\n--\n\nThrow away what waits in the ring; nothing may "
	 "come meanwhile."},
	{"close", ALONE(receiver_close), METH_NOARGS,
	 "close($self, /)\n--\n\nUnmap the ring, before its socket is closed."},
	{NULL, NULL, 0, NULL},
};

static PyType_Slot receiver_slots[] = {
	{Py_tp_doc, receiver_doc},
	{Py_tp_new, receiver_construct},
	{Py_tp_dealloc, receiver_dealloc},
	{Py_tp_members, receiver_members},
	{Py_tp_getset, receiver_getset},
	{Py_tp_methods, receiver_methods},
	{0, NULL},
};

PyType_Spec receiver_spec = {
	.name = "aioprocket._system._native.Receiver",
	.basicsize = sizeof(struct receiver),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = receiver_slots,
};
