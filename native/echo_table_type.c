/* SPDX-License-Identifier: MIT */
/* EchoTable: Python's side of echo_table.c, echo_judge.c and echo_io.c. */
#include "echo_table.h"

#include "critical.h"

#include <stddef.h>
#include <string.h>
#include <structmember.h>

static struct echo_group *
group_of(const struct echo_table *self, PyObject *argument)
{
	if (PyObject_TypeCheck(argument, self->state->echo_group_type))
		return (struct echo_group *)argument;
	PyErr_SetString(PyExc_TypeError, "not an EchoGroup");
	return NULL;
}

static PyObject *
table_construct(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *names[] = {"version", "identifier", "key", "first",
				"unchecked", "reporting", "counted", NULL};
	unsigned long long first = 0;
	const char *key;
	Py_ssize_t length;
	unsigned short identifier;
	int version, unchecked = 0, reporting = 0, counted = 0;
	struct echo_table *self;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "iHy#|$Kppp:EchoTable",
					 names, &version, &identifier, &key,
					 &length, &first, &unchecked,
					 &reporting, &counted))
		return NULL;
	if ((version != 4 && version != 6) || length != 16) {
		PyErr_SetString(PyExc_ValueError,
				"version is 4 or 6, and key has 16 bytes");
		return NULL;
	}
	self = (struct echo_table *)PyType_GenericAlloc(type, 0);
	if (self == NULL)
		return NULL;
	self->state = PyType_GetModuleState(type);
	self->first = self->next = first;
	self->identifier = identifier;
	self->version = (uint8_t)version;
	self->unchecked = unchecked != 0;
	self->reporting = reporting != 0;
	self->numbers = counted ? NUMBERS_COUNTED : NUMBERS_UNKNOWN;
	for (int byte = 15; byte >= 0; byte--)
		self->key[byte / 8] = self->key[byte / 8] << 8 |
				      (unsigned char)key[byte];
	self->odd = PyList_New(0);
	self->reports = PyList_New(0);
	if (self->odd == NULL || self->reports == NULL)
		Py_CLEAR(self);
	return (PyObject *)self;
}

static void
table_dealloc(PyObject *op)
{
	struct echo_table *self = (struct echo_table *)op;
	PyTypeObject *type = Py_TYPE(op);

	echo_table_clear(self);
	PyMem_Free(self->request);
	Py_XDECREF(self->odd);
	Py_XDECREF(self->reports);
	PyObject_Free(self);
	Py_DECREF(type);
}

static PyObject *
table_build(PyObject *op, PyObject *args)
{
	struct echo_table *self = (struct echo_table *)op;
	struct echo_target target = {0};
	struct echo_probe *probe;
	PyObject *group, *item;
	long long now_ns, monotonic_ns;
	unsigned int sequence;
	size_t length;
	int found;

	if (!PyArg_ParseTuple(args, "O!OILL:build",
			      self->state->echo_group_type, &group, &item,
			      &sequence, &now_ns, &monotonic_ns))
		return NULL;
	target.sequence = sequence;
	found = echo_read_item(self, (struct echo_group *)group, item, &target);
	if (found < 0)
		return NULL;
	if (found == 0)
		Py_RETURN_NONE;
	probe = echo_begin(self, (struct echo_group *)group, &target);
	if (probe == NULL) {
		if (PyErr_Occurred())
			return NULL;
		Py_RETURN_NONE;
	}
	probe->sent_ns = now_ns;
	probe->sent_monotonic = monotonic_ns;
	length = echo_request(self, probe);
	if (length == 0)
		return NULL;
	return Py_BuildValue("Ky#", (unsigned long long)probe->serial,
			     self->request, (Py_ssize_t)length);
}

static PyObject *
table_stamp(PyObject *op, PyObject *args)
{
	struct echo_table *self = (struct echo_table *)op;
	unsigned long long serial;
	long long sent_ns;
	struct echo_probe *probe;

	if (!PyArg_ParseTuple(args, "KL:stamp", &serial, &sent_ns))
		return NULL;
	probe = echo_find(self, serial);
	if (probe != NULL)
		echo_stamp(self, probe, sent_ns);
	Py_RETURN_NONE;
}

static PyObject *
table_take_back(PyObject *op, PyObject *argument)
{
	struct echo_table *self = (struct echo_table *)op;
	unsigned long long serial = PyLong_AsUnsignedLongLong(argument);
	struct echo_probe *probe;

	if (serial == (unsigned long long)-1 && PyErr_Occurred())
		return NULL;
	probe = echo_find(self, serial);
	if (probe != NULL && probe->state == ECHO_FLYING)
		echo_end(self, probe, ECHO_ENDED);
	Py_RETURN_NONE;
}

static PyObject *
table_refuse(PyObject *op, PyObject *args)
{
	struct echo_table *self = (struct echo_table *)op;
	struct echo_target target = {0};
	struct echo_probe probe = {0};
	PyObject *group, *item, *error;
	struct echo *echo;
	unsigned int sequence;
	int found;

	if (!PyArg_ParseTuple(args, "O!OIO:refuse",
			      self->state->echo_group_type, &group, &item,
			      &sequence, &error))
		return NULL;
	target.sequence = sequence;
	found = echo_read_item(self, (struct echo_group *)group, item, &target);
	if (found < 0)
		return NULL;
	probe.host = target.host;
	probe.scope = target.scope;
	probe.sequence = target.sequence;
	memcpy(probe.address, target.address, ECHO_ADDRESS);
	echo = echo_of(self, &probe);
	if (echo == NULL)
		return NULL;
	echo->error = Py_NewRef(error);
	if (echo_deliver((struct echo_group *)group, echo) < 0)
		return NULL;
	if (target.watch != NULL) {
		target.watch->sequence++;
		if (echo_watch_add(target.watch, -1.0) < 0)
			return NULL;
	}
	Py_RETURN_NONE;
}

static PyObject *
table_expire(PyObject *op, PyObject *args)
{
	struct echo_table *self = (struct echo_table *)op;
	PyObject *group;
	long long monotonic_ns;

	if (!PyArg_ParseTuple(args, "O!L:expire", self->state->echo_group_type,
			      &group, &monotonic_ns) ||
	    echo_expire(self, (struct echo_group *)group, monotonic_ns) < 0)
		return NULL;
	Py_RETURN_NONE;
}

static PyObject *
table_deadline(PyObject *op, PyObject *argument)
{
	struct echo_table *self = (struct echo_table *)op;
	const struct echo_group *group = group_of(self, argument);

	if (group == NULL)
		return NULL;
	if (group->oldest == ECHO_NONE)
		Py_RETURN_NONE;
	return PyLong_FromLongLong(self->probes[group->oldest].sent_monotonic +
				   group->timeout_ns);
}

static PyObject *
table_abandon(PyObject *op, PyObject *argument)
{
	struct echo_table *self = (struct echo_table *)op;
	const struct echo_group *group = group_of(self, argument);

	if (group == NULL)
		return NULL;
	while (group->oldest != ECHO_NONE)
		echo_end(self, &self->probes[group->oldest], ECHO_ENDED);
	Py_RETURN_NONE;
}

static PyObject *
table_take(PyObject *op, PyObject *args)
{
	struct echo_table *self = (struct echo_table *)op;
	struct echo_arrival arrival;
	const char *message, *source;
	Py_ssize_t length, source_length;
	long long received_ns, now_ns, monotonic_ns;
	PyObject *ttl;

	if (!PyArg_ParseTuple(args, "y#y#OLLL:take", &message, &length,
			      &source, &source_length, &ttl, &received_ns,
			      &now_ns, &monotonic_ns))
		return NULL;
	if ((size_t)source_length != echo_address_length(self)) {
		PyErr_SetString(PyExc_ValueError,
				"an address of the other version");
		return NULL;
	}
	arrival.source = (const unsigned char *)source;
	arrival.received_ns = received_ns;
	arrival.now_ns = now_ns;
	arrival.monotonic_ns = monotonic_ns;
	arrival.ttl = ttl == Py_None ? ECHO_NO_TTL : (int)PyLong_AsLong(ttl);
	if (PyErr_Occurred() ||
	    echo_judge(self, (const unsigned char *)message, (size_t)length,
		       &arrival) < 0)
		return NULL;
	Py_RETURN_NONE;
}

static PyObject *
table_take_error(PyObject *op, PyObject *args)
{
	struct echo_table *self = (struct echo_table *)op;
	const char *target, *quoted;
	Py_ssize_t target_length, length;
	long long received_ns;
	PyObject *error;

	if (!PyArg_ParseTuple(args, "y#y#OL:take_error", &target,
			      &target_length, &quoted, &length, &error,
			      &received_ns))
		return NULL;
	if ((size_t)target_length != echo_address_length(self)) {
		PyErr_SetString(PyExc_ValueError,
				"an address of the other version");
		return NULL;
	}
	if (echo_judge_error(self, (const unsigned char *)target,
			     (const unsigned char *)quoted, (size_t)length,
			     error, received_ns) < 0)
		return NULL;
	Py_RETURN_NONE;
}

/* A list, and a fresh one in its place; NULL with an exception. */
static PyObject *
take_list(PyObject **list)
{
	PyObject *full = *list, *fresh = PyList_New(0);

	if (fresh == NULL)
		return NULL;
	*list = fresh;
	return full;
}

static PyObject *
table_take_odd(PyObject *op, PyObject *Py_UNUSED(ignored))
{
	return take_list(&((struct echo_table *)op)->odd);
}

static PyObject *
table_take_reports(PyObject *op, PyObject *Py_UNUSED(ignored))
{
	return take_list(&((struct echo_table *)op)->reports);
}

static Py_ssize_t
table_length(PyObject *op)
{
	const struct echo_table *self = (struct echo_table *)op;

	return PyList_Size(self->odd) + PyList_Size(self->reports);
}

static char table_doc[] =
"EchoTable(version, identifier, key, *, first=0, unchecked=False,\n"
"          reporting=False, counted=False)\n"
"--\n"
"\n"
"The probes of one socket; its length is what take_odd() and\n"
"take_reports() would give.\n"
"\n"
"Args:\n"
"    version: Of IP.\n"
"    identifier: Of the requests.\n"
"    key: 16 bytes that nobody else knows.\n"
"    first: The first serial number; a sequence is its lower half.\n"
"    unchecked: Messages come with their IPv4 header, and nobody has looked\n"
"        at their checksum: raw sockets.\n"
"    reporting: ICMP errors come by the error queue: ping sockets.\n"
"    counted: Timestamps have the kernel's numbers, as before Linux 6.13,\n"
"        also where it takes ours.";

DEFINE_ALONE(table_build)
DEFINE_ALONE(table_stamp)
DEFINE_ALONE(table_take_back)
DEFINE_ALONE(table_refuse)
DEFINE_ALONE(table_expire)
DEFINE_ALONE(table_deadline)
DEFINE_ALONE(table_abandon)
DEFINE_ALONE(table_take)
DEFINE_ALONE(table_take_error)
DEFINE_ALONE(table_take_odd)
DEFINE_ALONE(table_take_reports)
DEFINE_ALONE(echo_send)
DEFINE_ALONE(echo_exchange)
DEFINE_ALONE(echo_receive)
DEFINE_ALONE(echo_read_queue)

static PyMethodDef table_methods[] = {
	{"build", ALONE(table_build), METH_VARARGS,
	 "build($self, group, item, sequence, now_ns, monotonic_ns, /)\n--\n\n"
	 "The serial number and the bytes of a request that is sent now.\n\n"
	 "None: the item is none of this table's, or too many probes fly."},
	{"stamp", ALONE(table_stamp), METH_VARARGS,
	 "stamp($self, serial, sent_ns, /)\n--\n\n"
	 "The kernel says when a probe left, by the realtime clock."},
	{"take_back", ALONE(table_take_back), METH_O,
	 "take_back($self, serial, /)\n--\n\n"
	 "A probe was not sent: it ends, and nobody is told."},
	{"refuse", ALONE(table_refuse), METH_VARARGS,
	 "refuse($self, group, item, sequence, error, /)\n--\n\n"
	 "A probe that cannot be sent has its end."},
	{"expire", ALONE(table_expire), METH_VARARGS,
	 "expire($self, group, monotonic_ns, /)\n--\n\n"
	 "Probes whose time is over are lost."},
	{"deadline", ALONE(table_deadline), METH_O,
	 "deadline($self, group, /)\n--\n\n"
	 "When the next probe will be lost, by the monotonic clock; None: none."},
	{"abandon", ALONE(table_abandon), METH_O,
	 "abandon($self, group, /)\n--\n\n"
	 "Nobody waits for these probes any more."},
	{"take", ALONE(table_take), METH_VARARGS,
	 "take($self, message, source, ttl, received_ns, now_ns, monotonic_ns, /)\n"
	 "--\n\n"
	 "Judge a message, from its ICMP header on.\n\n"
	 "received_ns is the kernel's, by the realtime clock; 0: not known.\n"
	 "The others are when this happens, by it and the monotonic clock."},
	{"take_error", ALONE(table_take_error), METH_VARARGS,
	 "take_error($self, target, quoted, error, received_ns, /)\n--\n\n"
	 "Judge an error about a packet to target, quoted from its ICMP\n"
	 "header on; error is what the probe gets if it is the one."},
	{"take_odd", ALONE(table_take_odd), METH_NOARGS,
	 "take_odd($self, /)\n--\n\nICMP errors that receive() came across."},
	{"take_reports", ALONE(table_take_reports), METH_NOARGS,
	 "take_reports($self, /)\n--\n\n"
	 "ICMP errors from the error queue: (target, quoted, errno, type, code,\n"
	 "info, router, received_ns), addresses as bytes."},
	{"send", ALONE(echo_send), METH_VARARGS, echo_send_doc},
	{"exchange", ALONE(echo_exchange), METH_VARARGS, echo_exchange_doc},
	{"receive", ALONE(echo_receive), METH_O, echo_receive_doc},
	{"read_queue", ALONE(echo_read_queue), METH_O, echo_read_queue_doc},
	{NULL, NULL, 0, NULL},
};

static PyMemberDef table_members[] = {
	{"in_flight", T_INT, offsetof(struct echo_table, in_flight), READONLY,
	 "Probes without an end yet."},
	{"awaited", T_UINT, offsetof(struct echo_table, awaited), READONLY,
	 "Of them those that asked for a timestamp and have none yet."},
	{"failure", T_INT, offsetof(struct echo_table, failure), READONLY,
	 "The errno of the last system call."},
	{"foreign", T_ULONGLONG, offsetof(struct echo_table, foreign),
	 READONLY, "Messages about no request of ours."},
	{"spoofed", T_ULONGLONG, offsetof(struct echo_table, spoofed),
	 READONLY, "Messages that only claim to be about one."},
	{"duplicate", T_ULONGLONG, offsetof(struct echo_table, duplicate),
	 READONLY, "Further replies."},
	{"late", T_ULONGLONG, offsetof(struct echo_table, late), READONLY,
	 "Replies and errors about a probe that had its end."},
	{"corrupted", T_ULONGLONG, offsetof(struct echo_table, corrupted),
	 READONLY, "Replies that are damaged."},
	{NULL, 0, 0, 0, NULL},
};

static PyType_Slot table_slots[] = {
	{Py_tp_doc, table_doc},
	{Py_tp_new, table_construct},
	{Py_tp_dealloc, table_dealloc},
	{Py_tp_members, table_members},
	{Py_tp_methods, table_methods},
	{Py_mp_length, table_length},
	{0, NULL},
};

PyType_Spec echo_table_spec = {
	.name = "aioprocket._system._native.EchoTable",
	.basicsize = sizeof(struct echo_table),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = table_slots,
};
