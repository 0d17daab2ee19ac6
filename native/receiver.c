/* SPDX-License-Identifier: MIT */
/*
 * Receiver: packets from one non-blocking descriptor, many at a time.
 *
 * Most of what a packet costs is the system call and the Python calls around
 * it, so recvmmsg() fetches up to 64 at once.  Not more: a longer list of
 * large bytes objects outgrows the allocator's reserve, and every packet
 * then pays for pages that are faulted in and given back.  The GIL is kept,
 * since no call here ever waits.
 */
#include "receiver.h"

#include "control.h"
#include "module.h"
#include "packet.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stddef.h>
#include <string.h>
#include <structmember.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { DEFAULT_SIZE = 65535 };

/* A failure besides the errnos, which are positive. */
enum { NO_FAILURE = 0, END_OF_FILE = -1 };

enum { NAMES = 64 };

/* Never invalidated: who renames an interface in use sees its old name. */
struct name {
	int ifindex;
	PyObject *ifname;
};

struct receiver {
	PyObject_HEAD
	struct module_state *state;
	int fd;
	bool is_socket;
	bool zero_is_end;
	int flags;
	int failure;		/* met after packets; for the next call */
	size_t size;
	unsigned long long packets;
	unsigned long long bytes;
	unsigned long long truncated;
	struct overflow overflow;
	struct name *names;	/* by ifindex % NAMES; NULL until needed */
};

/* What the kernel says of a packet */

static PyObject *
resolve_name(const struct receiver *self, int ifindex)
{
	struct ifreq request = {.ifr_ifindex = ifindex};

	/*
	 * On the descriptor, not by if_indextoname(): the socket may live in
	 * another network namespace than we do.
	 */
	if (ifindex == 0 || ioctl(self->fd, SIOCGIFNAME, &request) < 0)
		request.ifr_name[0] = '\0';
	return PyUnicode_DecodeFSDefault(request.ifr_name);
}

static PyObject *
get_name(struct receiver *self, int ifindex)
{
	struct name *entry;

	if (self->names == NULL) {
		self->names = PyMem_Calloc(NAMES, sizeof(*self->names));
		if (self->names == NULL)
			return PyErr_NoMemory();
	}
	entry = &self->names[(unsigned int)ifindex % NAMES];
	if (entry->ifname == NULL || entry->ifindex != ifindex) {
		PyObject *ifname = resolve_name(self, ifindex);

		if (ifname == NULL)
			return NULL;
		Py_XDECREF(entry->ifname);
		entry->ifname = ifname;
		entry->ifindex = ifindex;
	}
	return Py_NewRef(entry->ifname);
}

static enum direction
direction_of(unsigned char pkttype)
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
		packet->direction = (uint8_t)direction_of(link->sll_pkttype);
		packet->ifname = get_name(self, link->sll_ifindex);
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

/* System calls; what ends them early goes to self->failure */

static int
fill_from_socket(struct receiver *self, struct scratch *scratch, int wanted)
{
	int filled = recvmmsg(self->fd, scratch->messages, (unsigned)wanted,
			      self->flags, NULL);

	if (filled < 0) {
		self->failure = errno;
		return 0;
	}
	scratch->used = filled;
	for (int slot = 0; self->zero_is_end && slot < filled; slot++) {
		if (scratch->messages[slot].msg_len == 0) {
			self->failure = END_OF_FILE;
			return slot;
		}
	}
	return filled;
}

static int
fill_from_device(struct receiver *self, struct scratch *scratch, int wanted)
{
	int filled;

	for (filled = 0; filled < wanted; filled++) {
		struct mmsghdr *slot = &scratch->messages[filled];
		ssize_t length = read(self->fd, slot->msg_hdr.msg_iov->iov_base,
				      self->size);

		if (length <= 0) {
			self->failure = length < 0 ? errno : END_OF_FILE;
			break;
		}
		slot->msg_len = (unsigned)length;
		slot->msg_hdr.msg_namelen = 0;
		slot->msg_hdr.msg_controllen = 0;
		slot->msg_hdr.msg_flags = 0;
	}
	scratch->used = filled;
	return filled;
}

static int
append_packets(struct receiver *self, PyObject *packets,
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

/* One round of system calls: how many packets came, -1 with an exception. */
static int
receive_some(struct receiver *self, PyObject *packets, int wanted)
{
	struct scratch_pool *pool = &self->state->scratch;
	struct scratch *scratch = scratch_take(pool, self->size);
	int filled, failed;

	if (scratch == NULL) {
		PyErr_NoMemory();
		return -1;
	}
	filled = self->is_socket ? fill_from_socket(self, scratch, wanted)
				 : fill_from_device(self, scratch, wanted);
	failed = append_packets(self, packets, scratch->messages, filled);
	scratch_give(pool, scratch);
	return failed < 0 ? -1 : filled;
}

static void
raise_failure(int failure)
{
	if (failure == END_OF_FILE) {
		PyErr_SetString(PyExc_EOFError, "end of file");
	} else {
		errno = failure;
		PyErr_SetFromErrno(PyExc_OSError);
	}
}

/*
 * Nothing came, and self->failure says why: 1 to try again, 0 if there is
 * nothing to receive, -1 with an exception.
 */
static int
settle_failure(struct receiver *self)
{
	int failure = self->failure;

	self->failure = NO_FAILURE;
	if (failure == EINTR)
		return PyErr_CheckSignals() < 0 ? -1 : 1;
	if (failure == EAGAIN || failure == NO_FAILURE)
		return 0;
	raise_failure(failure);
	return -1;
}

static int
receive_into(struct receiver *self, PyObject *packets, Py_ssize_t count)
{
	Py_ssize_t missing = count;

	if (self->failure != NO_FAILURE)
		return settle_failure(self);
	while (missing > 0) {
		int wanted = missing < SCRATCH_SLOTS ? (int)missing
						     : SCRATCH_SLOTS;
		int filled = receive_some(self, packets, wanted);

		if (filled < 0)
			return -1;
		missing -= filled;
		if (filled == wanted)
			continue;
		if (missing < count)
			break;
		if (settle_failure(self) <= 0)
			return PyErr_Occurred() != NULL ? -1 : 0;
	}
	/* Not lost: what these two stand for is met again by the next call. */
	if (self->failure == EAGAIN || self->failure == EINTR)
		self->failure = NO_FAILURE;
	return 0;
}

/* Python's side */

static PyObject *
receive(struct receiver *self, Py_ssize_t count)
{
	PyObject *packets = PyList_New(0);

	if (packets != NULL && receive_into(self, packets, count) < 0)
		Py_CLEAR(packets);
	return packets;
}

static PyObject *
receiver_receive(PyObject *op, PyObject *argument)
{
	Py_ssize_t count = PyNumber_AsSsize_t(argument, PyExc_OverflowError);
	PyObject *packets;

	if (count == -1 && PyErr_Occurred())
		return NULL;
	if (count < 1) {
		PyErr_Format(PyExc_ValueError,
			     "count must be at least 1, not %zd", count);
		return NULL;
	}
#ifdef Py_GIL_DISABLED
	Py_BEGIN_CRITICAL_SECTION(op);
#endif
	packets = receive((struct receiver *)op, count);
#ifdef Py_GIL_DISABLED
	Py_END_CRITICAL_SECTION();
#endif
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

static PyObject *
receiver_construct(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *names[] = {"fd", "size", "socket", NULL};
	Py_ssize_t size = DEFAULT_SIZE;
	int fd, is_socket = 1;
	struct receiver *self;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "i|$np:Receiver", names,
					 &fd, &size, &is_socket))
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
	self->size = (size_t)size;
	if ((is_socket ? prepare_socket(self) : prepare_device(self)) < 0) {
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

	for (int i = 0; self->names != NULL && i < NAMES; i++)
		Py_XDECREF(self->names[i].ifname);
	PyMem_Free(self->names);
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

static char receiver_doc[] =
"Receiver(fd, *, size=65535, socket=True)\n"
"--\n"
"\n"
"Packets from a descriptor that belongs to somebody else.\n"
"\n"
"Args:\n"
"    fd: Open, and not closed by the receiver. If no socket, non-blocking.\n"
"    size: Bytes kept of a packet, 1 to 262144; the rest is cut off.\n"
"    socket: False for what is read by read(2), as a TUN device.\n"
"\n"
"Raises:\n"
"    OSError: The descriptor is not open, or not a socket.\n"
"    ValueError: A size out of bounds, or a device that would block.";

static char receive_doc[] =
"receive($self, count, /)\n"
"--\n"
"\n"
"Return up to count packets that wait, oldest first, without waiting.\n"
"\n"
"Returns:\n"
"    A list of Packet; empty when there is nothing.\n"
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
	{NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef receiver_methods[] = {
	{"receive", receiver_receive, METH_O, receive_doc},
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
