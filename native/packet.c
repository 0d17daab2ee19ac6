/* SPDX-License-Identifier: MIT */
/*
 * Packet: what a channel receives.  It keeps what the kernel gave and builds
 * what Python wants to see of it (the address, above all) when asked.
 */
#include "packet.h"

#include "module.h"

#include "segment.h"

#include <stddef.h>

const char *const packet_directions[DIRECTION_COUNT] = {
	[DIRECTION_IN] = "in",
	[DIRECTION_OUT] = "out",
	[DIRECTION_BROADCAST] = "broadcast",
	[DIRECTION_MULTICAST] = "multicast",
	[DIRECTION_OTHERHOST] = "otherhost",
};

/*
 * A packet with data, which it steals, and nothing else known of it.  NULL
 * for data: the caller says where its bytes are.
 */
struct packet *
packet_new(PyTypeObject *type, PyObject *data)
{
	struct packet *self = PyObject_New(struct packet, type);

	if (self == NULL) {
		Py_XDECREF(data);
		return NULL;
	}
	self->state = PyType_GetModuleState(type);
	self->data = data;
	self->bytes = NULL;
	self->length = 0;
	if (data != NULL) {
		self->bytes = (const unsigned char *)PyBytes_AsString(data);
		self->length = PyBytes_Size(data);
	}
	self->slab = NULL;
	self->header = NULL;
	self->exports = 0;
	self->serial = 0;
	self->changed = data != NULL;
	self->ancdata = NULL;
	self->ifname = NULL;
	atomic_init(&self->addr, NULL);
	self->timestamp_ns = 0;
	self->wire_len = 0;
	self->ifindex = 0;
	self->vlan_tci = 0;
	self->vlan_tpid = 0;
	self->direction = DIRECTION_IN;
	self->truncated = 0;
	self->undirected = false;
	self->address.family = AF_UNSPEC;
	return self;
}

static void
packet_dealloc(PyObject *op)
{
	struct packet *self = (struct packet *)op;
	PyTypeObject *type = Py_TYPE(op);

	if (self->slab != NULL)
		packet_leave(self);
	Py_XDECREF(self->data);
	Py_XDECREF(self->ancdata);
	Py_XDECREF(self->ifname);
	Py_XDECREF(atomic_load_explicit(&self->addr, memory_order_relaxed));
	PyObject_Free(self);
	Py_DECREF(type);
}

/* Attributes */

static PyObject *
get_data(PyObject *op, void *closure)
{
	(void)closure;
	return packet_data((struct packet *)op);
}

static PyObject *
get_timestamp_ns(PyObject *op, void *closure)
{
	(void)closure;
	return PyLong_FromLongLong(packet_timestamp((struct packet *)op));
}

static PyObject *
get_wire_len(PyObject *op, void *closure)
{
	struct packet *self = (struct packet *)op;

	(void)closure;
	packet_load(self);
	return PyLong_FromUnsignedLong(self->wire_len);
}

static PyObject *
get_truncated(PyObject *op, void *closure)
{
	struct packet *self = (struct packet *)op;

	(void)closure;
	packet_load(self);
	return PyBool_FromLong(self->truncated);
}

static PyObject *
get_ifindex(PyObject *op, void *closure)
{
	struct packet *self = (struct packet *)op;

	(void)closure;
	packet_load(self);
	return PyLong_FromLong(self->ifindex);
}

/* The sender: a new reference, or NULL with an exception. */
PyObject *
packet_addr(struct packet *self)
{
	PyObject *addr = atomic_load(&self->addr);
	PyObject *expected = NULL;

	if (addr != NULL)
		return Py_NewRef(addr);
	packet_load(self);
	if (self->slab != NULL && self->address.family == AF_PACKET)
		addr = slab_addr(self->slab, &self->address);
	else
		addr = address_build(&self->address, self->ifname);
	if (addr == NULL)
		return NULL;
	/* Without a GIL another thread may have built it meanwhile. */
	if (!atomic_compare_exchange_strong(&self->addr, &expected, addr)) {
		Py_DECREF(addr);
		addr = expected;
	}
	self->changed = true;
	return Py_NewRef(addr);
}

static PyObject *
get_addr(PyObject *op, void *closure)
{
	(void)closure;
	return packet_addr((struct packet *)op);
}

static PyObject *
get_vlan_tci(PyObject *op, void *closure)
{
	struct packet *self = (struct packet *)op;

	(void)closure;
	packet_load(self);
	if (self->vlan_tpid == 0)
		Py_RETURN_NONE;
	return PyLong_FromLong(self->vlan_tci);
}

static PyObject *
get_vlan_tpid(PyObject *op, void *closure)
{
	struct packet *self = (struct packet *)op;

	(void)closure;
	packet_load(self);
	if (self->vlan_tpid == 0)
		Py_RETURN_NONE;
	return PyLong_FromLong(self->vlan_tpid);
}

static PyObject *
get_gso_size(PyObject *op, void *closure)
{
	(void)closure;
	return PyLong_FromUnsignedLong(segment_size((struct packet *)op));
}

static PyObject *
get_direction(PyObject *op, void *closure)
{
	struct packet *self = (struct packet *)op;

	(void)closure;
	packet_load(self);
	return PyUnicode_InternFromString(packet_directions[self->direction]);
}

static PyObject *
get_ancdata(PyObject *op, void *closure)
{
	struct packet *self = (struct packet *)op;

	(void)closure;
	return self->ancdata != NULL ? Py_NewRef(self->ancdata)
				     : PyTuple_New(0);
}

/*
 * The two that every packet is asked for, without the search for them in the
 * type, which takes longer than to make the answer.
 */
static PyObject *
packet_getattro(PyObject *op, PyObject *name)
{
	const struct module_state *state = ((struct packet *)op)->state;

	if (name == state->timestamp_ns)
		return get_timestamp_ns(op, NULL);
	if (name == state->data)
		return packet_data((struct packet *)op);
	return PyObject_GenericGetAttr(op, name);
}

/* Protocols */

static Py_ssize_t
packet_length(PyObject *op)
{
	return ((struct packet *)op)->length;
}

static PyObject *
packet_iter(PyObject *op)
{
	struct packet *self = (struct packet *)op;
	PyObject *view = Py_BuildValue(
		"(NNNNNNNNNN)", packet_data(self), get_addr(op, NULL),
		get_timestamp_ns(op, NULL), get_wire_len(op, NULL),
		get_truncated(op, NULL), get_ifindex(op, NULL),
		get_vlan_tci(op, NULL), get_vlan_tpid(op, NULL),
		get_direction(op, NULL), get_ancdata(op, NULL));
	PyObject *iterator;

	if (view == NULL)
		return NULL;
	iterator = PyObject_GetIter(view);
	Py_DECREF(view);
	return iterator;
}

static PyObject *
packet_bytes(PyObject *op, PyObject *unused)
{
	(void)unused;
	return packet_data((struct packet *)op);
}

static PyObject *
packet_segments(PyObject *op, PyObject *unused)
{
	(void)unused;
	return segment_packet((struct packet *)op);
}

/* PEP 688.  Python 3.12 and later put a method of their own before this one. */
static PyObject *
packet_buffer(PyObject *op, PyObject *flags)
{
	(void)flags;
	return PyMemoryView_FromObject(op);
}

static PyObject *
packet_getnewargs_ex(PyObject *op, PyObject *unused)
{
	struct packet *self = (struct packet *)op;

	(void)unused;
	return Py_BuildValue(
		"((NN){sNsNsNsNsNsNsNsN})", packet_data(self), get_addr(op, NULL),
		"timestamp_ns", get_timestamp_ns(op, NULL),
		"wire_len", get_wire_len(op, NULL),
		"truncated", get_truncated(op, NULL),
		"ifindex", get_ifindex(op, NULL),
		"vlan_tci", get_vlan_tci(op, NULL),
		"vlan_tpid", get_vlan_tpid(op, NULL),
		"direction", get_direction(op, NULL),
		"ancdata", get_ancdata(op, NULL));
}

/* Type */

static char packet_doc[] =
"Packet(data, addr=None, *, timestamp_ns=0, wire_len=None, truncated=False,\n"
"       ifindex=0, vlan_tci=None, vlan_tpid=None, direction='in', ancdata=())\n"
"--\n"
"\n"
"One frame, packet or datagram, with what the kernel said about it.\n"
"\n"
"Immutable; equal only to itself, and to what the same place of the same batch\n"
"gives. It is a read-only buffer, has a length, ``packet[9]`` is a byte and\n"
"``packet[12:16]`` are some, and it unpacks: ``data, addr, *_ = packet``. Keep\n"
"it as long as you like: what it shows never changes.";

static PyGetSetDef packet_getset[] = {
	{"data", get_data, NULL,
	 "The received bytes. Of a packet in a ring they are copied when they "
	 "are first asked for; ``memoryview(packet)``, ``packet[9]`` and "
	 "``packet[12:16]`` see them where they are.", NULL},
	{"timestamp_ns", get_timestamp_ns, NULL,
	 "When the kernel took it in: realtime clock, nanoseconds since the "
	 "epoch; 0 unless timestamps are on.", NULL},
	{"wire_len", get_wire_len, NULL,
	 "Its length before it was cut by a small buffer or a filter.", NULL},
	{"truncated", get_truncated, NULL,
	 "Whether data is less than there was.", NULL},
	{"ifindex", get_ifindex, NULL,
	 "The interface it went through, 0 if the kernel does not say.", NULL},
	{"addr", get_addr, NULL,
	 "The sender, as socket.recvfrom() would give it; None without one.",
	 NULL},
	{"vlan_tci", get_vlan_tci, NULL,
	 "Priority, DEI and VLAN id that the kernel took out of the frame; "
	 "None when untagged.", NULL},
	{"vlan_tpid", get_vlan_tpid, NULL,
	 "The EtherType of that tag (0x8100, 0x88a8); None when untagged.",
	 NULL},
	{"gso_size", get_gso_size, NULL,
	 "Bytes of payload of each segment of a packet that is larger than one "
	 "on the wire, as TUN and TAP devices with offload give them; else 0. "
	 "Its checksum is open: pass it on as it is, or its segments().", NULL},
	{"direction", get_direction, NULL,
	 "'in', 'out', 'broadcast', 'multicast' or 'otherhost'; 'in' on all "
	 "but packet sockets.", NULL},
	{"ancdata", get_ancdata, NULL,
	 "Further control messages, (level, type, data) each as "
	 "socket.recvmsg() gives them. Descriptors in SCM_RIGHTS are the "
	 "receiver's to close.", NULL},
	{NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef packet_methods[] = {
	{"__bytes__", packet_bytes, METH_NOARGS,
	 "__bytes__($self, /)\n--\n\nThe data itself, not a copy."},
	{"__buffer__", packet_buffer, METH_O,
	 "__buffer__($self, flags, /)\n--\n\nA view of the data."},
	{"segments", packet_segments, METH_NOARGS,
	 "segments($self, /)\n--\n\n"
	 "The packets of wire size that this one stands for, as a list.\n\n"
	 "Each is complete, with checksums. Without a gso_size it is the packet\n"
	 "itself.\n\n"
	 "Raises:\n"
	 "    ValueError: What ancdata says does not fit the data."},
	{"tagged", packet_tagged, METH_NOARGS,
	 "tagged($self, /)\n--\n\n"
	 "The bytes of an Ethernet frame, with the VLAN tag that the kernel took\n"
	 "out of them: what is sent for it. Without a vlan_tci: data."},
	{"__getnewargs_ex__", packet_getnewargs_ex, METH_NOARGS,
	 "__getnewargs_ex__($self, /)\n--\n\nThe constructor's arguments, "
	 "for pickle and copy."},
	{NULL, NULL, 0, NULL},
};

static PyType_Slot packet_slots[] = {
	{Py_tp_doc, packet_doc},
	{Py_tp_new, packet_construct},
	{Py_tp_dealloc, packet_dealloc},
	{Py_tp_repr, packet_repr},
	{Py_tp_getattro, packet_getattro},
	{Py_tp_iter, packet_iter},
	{Py_tp_getset, packet_getset},
	{Py_tp_methods, packet_methods},
	{Py_sq_length, packet_length},
	{Py_mp_subscript, packet_subscript},
	{Py_tp_richcompare, packet_compare},
	{Py_tp_hash, packet_hash},
	{Py_bf_getbuffer, packet_getbuffer},
	{Py_bf_releasebuffer, packet_releasebuffer},
	{0, NULL},
};

PyType_Spec packet_spec = {
	.name = "aioprocket.packet.Packet",
	.basicsize = sizeof(struct packet),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = packet_slots,
};
