/* SPDX-License-Identifier: MIT */
/*
 * Packet(...) called from Python: by tests, by pickle, and by who reads packets
 * in another way than a Receiver.
 */
#include "packet.h"

#include <linux/if_ether.h>
#include <string.h>

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
	unsigned long length = (unsigned long)self->length;
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
	for (size_t i = 0; i < DIRECTION_COUNT; i++) {
		if (strcmp(name, packet_directions[i]) == 0) {
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

PyObject *
packet_construct(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *names[] = {
		"data", "addr", "timestamp_ns", "wire_len", "truncated",
		"ifindex", "vlan_tci", "vlan_tpid", "direction", "ancdata",
		NULL,
	};
	PyObject *data, *addr = Py_None, *wire_len = Py_None;
	PyObject *tci = Py_None, *tpid = Py_None, *ancdata = NULL;
	const char *direction = packet_directions[DIRECTION_IN];
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
