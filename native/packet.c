/* SPDX-License-Identifier: MIT */
/*
 * Packet: what a channel receives.  It keeps what the kernel gave and builds
 * what Python wants to see of it (the address, above all) when asked.
 */
#include "packet.h"

#include <linux/if_ether.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <structmember.h>

static const char *const directions[] = {
	[DIRECTION_IN] = "in",
	[DIRECTION_OUT] = "out",
	[DIRECTION_BROADCAST] = "broadcast",
	[DIRECTION_MULTICAST] = "multicast",
	[DIRECTION_OTHERHOST] = "otherhost",
};

/* A packet with data, which it steals, and nothing else known of it. */
struct packet *
packet_new(PyTypeObject *type, PyObject *data)
{
	struct packet *self = PyObject_New(struct packet, type);

	if (self == NULL) {
		Py_DECREF(data);
		return NULL;
	}
	self->data = data;
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
	self->address.family = AF_UNSPEC;
	return self;
}

static void
packet_dealloc(PyObject *op)
{
	struct packet *self = (struct packet *)op;
	PyTypeObject *type = Py_TYPE(op);

	Py_DECREF(self->data);
	Py_XDECREF(self->ancdata);
	Py_XDECREF(self->ifname);
	Py_XDECREF(atomic_load_explicit(&self->addr, memory_order_relaxed));
	PyObject_Free(self);
	Py_DECREF(type);
}

/* Constructor */

static int
convert_uint(PyObject *value, const char *name, unsigned long minimum,
	     unsigned long maximum, unsigned long *result)
{
	unsigned long number = PyLong_AsUnsignedLong(value);

	if (number == (unsigned long)-1 && PyErr_Occurred() &&
	    !PyErr_ExceptionMatches(PyExc_OverflowError))
		return -1;
	if (PyErr_Occurred() || number < minimum || number > maximum) {
		PyErr_Format(PyExc_ValueError, "%s must be %lu to %lu, not %R",
			     name, minimum, maximum, value);
		return -1;
	}
	*result = number;
	return 0;
}

static PyObject *
convert_data(PyObject *value)
{
	if (PyBytes_CheckExact(value))
		return Py_NewRef(value);
	if (!PyObject_CheckBuffer(value)) {
		PyErr_Format(PyExc_TypeError,
			     "data must be bytes-like, not %R", Py_TYPE(value));
		return NULL;
	}
	return PyBytes_FromObject(value);
}

static int
set_addr(struct packet *self, PyObject *addr)
{
	/* Anything else could close a cycle that nobody collects. */
	if (addr != Py_None && !PyTuple_Check(addr) &&
	    !PyUnicode_Check(addr) && !PyBytes_Check(addr)) {
		PyErr_Format(PyExc_TypeError,
			     "addr must be a tuple, str, bytes or None, not %R",
			     Py_TYPE(addr));
		return -1;
	}
	atomic_init(&self->addr, Py_NewRef(addr));
	return 0;
}

static int
set_wire_len(struct packet *self, PyObject *value, int truncated)
{
	unsigned long length = (unsigned long)PyBytes_Size(self->data);
	unsigned long wire_len = length;

	if (value != Py_None &&
	    convert_uint(value, "wire_len", length, UINT32_MAX, &wire_len) < 0)
		return -1;
	self->wire_len = (uint32_t)wire_len;
	self->truncated = truncated || wire_len > length;
	return 0;
}

static int
set_vlan(struct packet *self, PyObject *tci, PyObject *tpid)
{
	unsigned long number = ETH_P_8021Q;

	if (tci == Py_None && tpid == Py_None)
		return 0;
	if (tci == Py_None) {
		PyErr_SetString(PyExc_ValueError,
				"vlan_tpid needs a vlan_tci to go with");
		return -1;
	}
	if (tpid != Py_None &&
	    convert_uint(tpid, "vlan_tpid", 1, UINT16_MAX, &number) < 0)
		return -1;
	self->vlan_tpid = (uint16_t)number;
	if (convert_uint(tci, "vlan_tci", 0, UINT16_MAX, &number) < 0)
		return -1;
	self->vlan_tci = (uint16_t)number;
	return 0;
}

static int
set_direction(struct packet *self, const char *name)
{
	for (size_t i = 0; i < Py_ARRAY_LENGTH(directions); i++) {
		if (strcmp(name, directions[i]) == 0) {
			self->direction = (uint8_t)i;
			return 0;
		}
	}
	PyErr_Format(PyExc_ValueError,
		     "direction must be \"in\", \"out\", \"broadcast\", "
		     "\"multicast\" or \"otherhost\", not \"%s\"", name);
	return -1;
}

static PyObject *
convert_control_message(PyObject *item)
{
	int level, type;
	PyObject *data;

	if (!PyTuple_Check(item)) {
		PyErr_Format(PyExc_TypeError,
			     "ancdata must hold (level, type, bytes), not %R",
			     item);
		return NULL;
	}
	if (!PyArg_ParseTuple(item, "iiS;ancdata must hold "
			      "(level, type, bytes)", &level, &type, &data))
		return NULL;
	return Py_BuildValue("(iiO)", level, type, data);
}

/* Copied item by item, for the promise that it holds nothing but bytes. */
static int
set_ancdata(struct packet *self, PyObject *items)
{
	PyObject *list = PySequence_List(items);
	Py_ssize_t count;

	if (list == NULL)
		return -1;
	count = PyList_Size(list);
	for (Py_ssize_t i = 0; i < count; i++) {
		PyObject *item =
			convert_control_message(PyList_GetItem(list, i));

		if (item == NULL || PyList_SetItem(list, i, item) < 0) {
			Py_DECREF(list);
			return -1;
		}
	}
	if (count > 0)
		self->ancdata = PyList_AsTuple(list);
	Py_DECREF(list);
	return count > 0 && self->ancdata == NULL ? -1 : 0;
}

static PyObject *
packet_construct(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *names[] = {
		"data", "addr", "timestamp_ns", "wire_len", "truncated",
		"ifindex", "vlan_tci", "vlan_tpid", "direction", "ancdata",
		NULL,
	};
	PyObject *data, *addr = Py_None, *wire_len = Py_None;
	PyObject *tci = Py_None, *tpid = Py_None, *ancdata = NULL;
	const char *direction = directions[DIRECTION_IN];
	long long timestamp_ns = 0;
	int truncated = 0, ifindex = 0;
	struct packet *self;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O$LOpiOOsO:Packet",
					 names, &data, &addr, &timestamp_ns,
					 &wire_len, &truncated, &ifindex, &tci,
					 &tpid, &direction, &ancdata))
		return NULL;
	data = convert_data(data);
	if (data == NULL)
		return NULL;
	self = packet_new(type, data);
	if (self == NULL)
		return NULL;
	self->timestamp_ns = timestamp_ns;
	self->ifindex = ifindex;
	if (set_addr(self, addr) < 0 ||
	    set_wire_len(self, wire_len, truncated) < 0 ||
	    set_vlan(self, tci, tpid) < 0 ||
	    set_direction(self, direction) < 0 ||
	    (ancdata != NULL && set_ancdata(self, ancdata) < 0)) {
		Py_DECREF(self);
		return NULL;
	}
	return (PyObject *)self;
}

/* Attributes */

static PyObject *
get_addr(PyObject *op, void *closure)
{
	struct packet *self = (struct packet *)op;
	PyObject *addr = atomic_load(&self->addr);
	PyObject *expected = NULL;

	(void)closure;
	if (addr != NULL)
		return Py_NewRef(addr);
	addr = address_build(&self->address, self->ifname);
	if (addr == NULL)
		return NULL;
	/* Without a GIL another thread may have built it meanwhile. */
	if (!atomic_compare_exchange_strong(&self->addr, &expected, addr)) {
		Py_DECREF(addr);
		addr = expected;
	}
	return Py_NewRef(addr);
}

static PyObject *
get_vlan_tci(PyObject *op, void *closure)
{
	struct packet *self = (struct packet *)op;

	(void)closure;
	if (self->vlan_tpid == 0)
		Py_RETURN_NONE;
	return PyLong_FromLong(self->vlan_tci);
}

static PyObject *
get_vlan_tpid(PyObject *op, void *closure)
{
	struct packet *self = (struct packet *)op;

	(void)closure;
	if (self->vlan_tpid == 0)
		Py_RETURN_NONE;
	return PyLong_FromLong(self->vlan_tpid);
}

static PyObject *
get_direction(PyObject *op, void *closure)
{
	struct packet *self = (struct packet *)op;

	(void)closure;
	return PyUnicode_InternFromString(directions[self->direction]);
}

static PyObject *
get_ancdata(PyObject *op, void *closure)
{
	struct packet *self = (struct packet *)op;

	(void)closure;
	return self->ancdata != NULL ? Py_NewRef(self->ancdata)
				     : PyTuple_New(0);
}

/* Protocols */

static Py_ssize_t
packet_length(PyObject *op)
{
	return PyBytes_Size(((struct packet *)op)->data);
}

static int
packet_getbuffer(PyObject *op, Py_buffer *view, int flags)
{
	PyObject *data = ((struct packet *)op)->data;

	return PyBuffer_FillInfo(view, op, PyBytes_AsString(data),
				 PyBytes_Size(data), 1, flags);
}

static PyObject *
packet_iter(PyObject *op)
{
	struct packet *self = (struct packet *)op;
	PyObject *view = Py_BuildValue(
		"(ONLINiNNNN)", self->data, get_addr(op, NULL),
		(long long)self->timestamp_ns, (unsigned int)self->wire_len,
		PyBool_FromLong(self->truncated), self->ifindex,
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
packet_repr(PyObject *op)
{
	struct packet *self = (struct packet *)op;
	char whole[24] = "", on[24] = "", vlan[16] = "", at[48] = "";
	const long long second = 1000000000;

	if (self->truncated)
		snprintf(whole, sizeof(whole), " of %u",
			 (unsigned int)self->wire_len);
	if (self->ifindex != 0)
		snprintf(on, sizeof(on), " on %d", self->ifindex);
	if (self->vlan_tpid != 0)
		snprintf(vlan, sizeof(vlan), " vlan %d",
			 self->vlan_tci & 0x0fff);
	if (self->timestamp_ns > 0)
		snprintf(at, sizeof(at), " at %lld.%09lld",
			 (long long)self->timestamp_ns / second,
			 (long long)self->timestamp_ns % second);
	return PyUnicode_FromFormat("<Packet %zd%s bytes %s%s%s%s>",
				    PyBytes_Size(self->data), whole,
				    directions[self->direction], on, vlan, at);
}

static PyObject *
packet_bytes(PyObject *op, PyObject *unused)
{
	(void)unused;
	return Py_NewRef(((struct packet *)op)->data);
}

static PyObject *
packet_getnewargs_ex(PyObject *op, PyObject *unused)
{
	struct packet *self = (struct packet *)op;

	(void)unused;
	return Py_BuildValue(
		"((ON){sLsIsNsisNsNsNsN})", self->data, get_addr(op, NULL),
		"timestamp_ns", (long long)self->timestamp_ns,
		"wire_len", (unsigned int)self->wire_len,
		"truncated", PyBool_FromLong(self->truncated),
		"ifindex", self->ifindex,
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
"Immutable; equal only to itself. It is a read-only buffer, has a length, and\n"
"unpacks: ``data, addr, *_ = packet``. It owns all it shows: keep it as long\n"
"as you like.";

static PyMemberDef packet_members[] = {
	{"data", T_OBJECT_EX, offsetof(struct packet, data), READONLY,
	 "The received bytes."},
	{"timestamp_ns", T_LONGLONG, offsetof(struct packet, timestamp_ns),
	 READONLY,
	 "When the kernel took it in: realtime clock, nanoseconds since the "
	 "epoch; 0 unless timestamps are on."},
	{"wire_len", T_UINT, offsetof(struct packet, wire_len), READONLY,
	 "Its length before it was cut by a small buffer or a filter."},
	{"truncated", T_BOOL, offsetof(struct packet, truncated), READONLY,
	 "Whether data is less than there was."},
	{"ifindex", T_INT, offsetof(struct packet, ifindex), READONLY,
	 "The interface it went through, 0 if the kernel does not say."},
	{NULL, 0, 0, 0, NULL},
};

static PyGetSetDef packet_getset[] = {
	{"addr", get_addr, NULL,
	 "The sender, as socket.recvfrom() would give it; None without one.",
	 NULL},
	{"vlan_tci", get_vlan_tci, NULL,
	 "Priority, DEI and VLAN id that the kernel took out of the frame; "
	 "None when untagged.", NULL},
	{"vlan_tpid", get_vlan_tpid, NULL,
	 "The EtherType of that tag (0x8100, 0x88a8); None when untagged.",
	 NULL},
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
	{Py_tp_iter, packet_iter},
	{Py_tp_members, packet_members},
	{Py_tp_getset, packet_getset},
	{Py_tp_methods, packet_methods},
	{Py_sq_length, packet_length},
	{Py_bf_getbuffer, packet_getbuffer},
	{0, NULL},
};

PyType_Spec packet_spec = {
	.name = "aioprocket.packet.Packet",
	.basicsize = sizeof(struct packet),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = packet_slots,
};
