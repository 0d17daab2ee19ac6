/* SPDX-License-Identifier: MIT */
/*
 * A packet's bytes as Python's protocols show them, without a copy of them
 * all; which packets are the same, and what they look like.
 */
#include "packet.h"

#include <stdio.h>
#include <string.h>

static PyObject *
slice(struct packet *self, PyObject *key)
{
	Py_ssize_t start, stop, step, count;
	PyObject *whole, *part;

	if (PySlice_Unpack(key, &start, &stop, &step) < 0)
		return NULL;
	count = PySlice_AdjustIndices(self->length, &start, &stop, step);
	if (step == 1)
		return PyBytes_FromStringAndSize(
			(const char *)self->bytes + start, count);
	whole = packet_data(self);
	if (whole == NULL)
		return NULL;
	part = PyObject_GetItem(whole, key);
	Py_DECREF(whole);
	return part;
}

/* As bytes have it. */
PyObject *
packet_subscript(PyObject *op, PyObject *key)
{
	struct packet *self = (struct packet *)op;
	Py_ssize_t at;

	if (PySlice_Check(key))
		return slice(self, key);
	/* The way of most, and where it does not lead, that of all. */
	at = Py_IS_TYPE(key, &PyLong_Type) ? PyLong_AsSsize_t(key) : -1;
	if (at == -1) {
		PyErr_Clear();
		at = PyNumber_AsSsize_t(key, PyExc_IndexError);
	}
	if (at == -1 && PyErr_Occurred())
		return NULL;
	if (at < 0)
		at += self->length;
	if (at < 0 || at >= self->length) {
		PyErr_SetString(PyExc_IndexError, "packet index out of range");
		return NULL;
	}
	return PyLong_FromLong(self->bytes[at]);
}

int
packet_getbuffer(PyObject *op, Py_buffer *view, int flags)
{
	struct packet *self = (struct packet *)op;
	void *bytes = (void *)(uintptr_t)self->bytes;

	if (PyBuffer_FillInfo(view, op, bytes, self->length, 1, flags) < 0)
		return -1;
	view->internal = self->slab;
	if (self->slab != NULL) {
		self->exports++;
		self->slab->exports++;
	}
	return 0;
}

void
packet_releasebuffer(PyObject *op, Py_buffer *view)
{
	struct packet *self = (struct packet *)op;

	if (view->internal == NULL)
		return;
	self->exports--;
	self->slab->exports--;
	slab_settle(self->slab);
}

/* The bytes with the VLAN tag that the kernel took out of them. */
PyObject *
packet_tagged(PyObject *op, PyObject *unused)
{
	struct packet *self = (struct packet *)op;
	enum { ADDRESSES = 12, TAG = 4 };	/* linux/if_ether.h */
	PyObject *tagged;
	unsigned char *to;

	(void)unused;
	packet_load(self);
	if (self->vlan_tpid == 0 || self->length < ADDRESSES)
		return packet_data(self);
	tagged = PyBytes_FromStringAndSize(NULL, self->length + TAG);
	if (tagged == NULL)
		return NULL;
	to = (unsigned char *)PyBytes_AsString(tagged);
	memcpy(to, self->bytes, ADDRESSES);
	to[ADDRESSES] = (unsigned char)(self->vlan_tpid >> 8);
	to[ADDRESSES + 1] = (unsigned char)self->vlan_tpid;
	to[ADDRESSES + 2] = (unsigned char)(self->vlan_tci >> 8);
	to[ADDRESSES + 3] = (unsigned char)self->vlan_tci;
	memcpy(to + ADDRESSES + TAG, self->bytes + ADDRESSES,
	       (size_t)self->length - ADDRESSES);
	return tagged;
}

PyObject *
packet_compare(PyObject *one, PyObject *other, int operation)
{
	uint64_t serial = ((struct packet *)one)->serial;
	int equal = one == other;

	if (Py_TYPE(one) != Py_TYPE(other) ||
	    (operation != Py_EQ && operation != Py_NE))
		Py_RETURN_NOTIMPLEMENTED;
	if (serial != 0 && serial == ((struct packet *)other)->serial)
		equal = 1;
	return PyBool_FromLong(equal == (operation == Py_EQ));
}

Py_hash_t
packet_hash(PyObject *op)
{
	uint64_t serial = ((struct packet *)op)->serial;

	if (serial != 0)
		return (Py_hash_t)(serial >> 1);
	/* As objects have it: addresses are multiples of 16. */
	return (Py_hash_t)((uintptr_t)op >> 4);
}

PyObject *
packet_repr(PyObject *op)
{
	struct packet *self = (struct packet *)op;
	char whole[24] = "", on[24] = "", vlan[16] = "", at[48] = "";
	const long long second = 1000000000;

	packet_load(self);
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
				    self->length, whole,
				    packet_directions[self->direction], on,
				    vlan, at);
}
