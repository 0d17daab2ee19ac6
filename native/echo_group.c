/* SPDX-License-Identifier: MIT */
/* EchoGroup: the probes of one task, and what has become of them. */
#include "echo_group.h"

#include "critical.h"
#include "inetsum.h"

#include <stddef.h>
#include <string.h>
#include <structmember.h>

enum { MAX_SIZE = 65535 };

static int
make_filling(struct echo_group *self, const char *pattern, Py_ssize_t length)
{
	size_t count = self->size > ECHO_COOKIE ? self->size - ECHO_COOKIE : 0;

	self->filling = PyMem_Calloc(count + 1, 1);
	if (self->filling == NULL) {
		PyErr_NoMemory();
		return -1;
	}
	for (size_t at = 0; length > 0 && at < count; at++)
		self->filling[at] = (unsigned char)pattern[at % (size_t)length];
	self->filling_sum = inetsum(self->filling, count);
	return 0;
}

static PyObject *
group_construct(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *names[] = {"size", "pattern", "timeout_ns", "anybody",
				"stamped", NULL};
	Py_ssize_t size, length;
	const char *pattern;
	long long timeout_ns;
	int anybody = 0, stamped = 0;
	struct echo_group *self;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "ny#L|pp:EchoGroup",
					 names, &size, &pattern, &length,
					 &timeout_ns, &anybody, &stamped))
		return NULL;
	if (size < 0 || size > MAX_SIZE) {
		PyErr_Format(PyExc_ValueError, "size must be 0 to %d, not %zd",
			     MAX_SIZE, size);
		return NULL;
	}
	self = (struct echo_group *)PyType_GenericAlloc(type, 0);
	if (self == NULL)
		return NULL;
	self->size = (size_t)size;
	self->timeout_ns = timeout_ns;
	self->anybody = anybody != 0;
	self->stamped = stamped != 0;
	self->oldest = self->newest = ECHO_NONE;
	self->finished = PyList_New(0);
	self->repeats = PyDict_New();
	if (self->finished == NULL || self->repeats == NULL ||
	    make_filling(self, pattern, length) < 0)
		Py_CLEAR(self);
	return (PyObject *)self;
}

static void
group_dealloc(PyObject *op)
{
	struct echo_group *self = (struct echo_group *)op;
	PyTypeObject *type = Py_TYPE(op);

	Py_XDECREF(self->finished);
	Py_XDECREF(self->repeats);
	PyMem_Free(self->filling);
	PyObject_Free(self);
	Py_DECREF(type);
}

/* A probe that has its reply got another one. */
int
echo_group_repeat(struct echo_group *group, uint32_t sequence)
{
	PyObject *key = PyLong_FromUnsignedLong(sequence), *before, *after;
	int failed = -1;

	if (key == NULL)
		return -1;
	before = PyDict_GetItemWithError(group->repeats, key);
	if (before != NULL || !PyErr_Occurred()) {
		after = PyLong_FromLong(
			1 + (before == NULL ? 0 : PyLong_AsLong(before)));
		if (after != NULL)
			failed = PyDict_SetItem(group->repeats, key, after);
		Py_XDECREF(after);
	}
	Py_DECREF(key);
	return failed;
}

static PyObject *
group_take(PyObject *op, PyObject *Py_UNUSED(ignored))
{
	struct echo_group *self = (struct echo_group *)op;
	PyObject *finished = self->finished, *fresh = PyList_New(0);

	if (fresh == NULL)
		return NULL;
	self->finished = fresh;
	return finished;
}

static Py_ssize_t
group_length(PyObject *op)
{
	return PyList_Size(((struct echo_group *)op)->finished);
}

static PyObject *
group_not_overtaken(PyObject *op, void *Py_UNUSED(closure))
{
	const struct echo_group *self = (struct echo_group *)op;
	uint64_t after = self->next - self->answered;

	if (after > (uint64_t)self->in_flight)
		after = (uint64_t)self->in_flight;
	return PyLong_FromUnsignedLongLong(after);
}

static char group_doc[] =
"EchoGroup(size, pattern, timeout_ns, anybody=False, stamped=False)\n"
"--\n"
"\n"
"Probes of one task, by one table; its length is what take() would give.\n"
"\n"
"Args:\n"
"    size: Bytes behind the ICMP header.\n"
"    pattern: What follows the cookie, again and again; empty: zeros.\n"
"    timeout_ns: After which a probe is lost.\n"
"    anybody: A reply may come from another address than the probe went to.\n"
"    stamped: The kernel is asked when each leaves.";

static PyMemberDef group_members[] = {
	{"size", T_PYSSIZET, offsetof(struct echo_group, size), READONLY,
	 "Bytes behind the ICMP header."},
	{"timeout_ns", T_LONGLONG, offsetof(struct echo_group, timeout_ns),
	 READONLY, "After which a probe is lost."},
	{"in_flight", T_INT, offsetof(struct echo_group, in_flight), READONLY,
	 "Probes without an end yet."},
	{"stamped", T_BOOL, offsetof(struct echo_group, stamped), READONLY,
	 "Whether the kernel is asked when each leaves."},
	{"repeats", T_OBJECT_EX, offsetof(struct echo_group, repeats), READONLY,
	 "How many further replies came, by the sequence of the probe."},
	{NULL, 0, 0, 0, NULL},
};

static PyGetSetDef group_properties[] = {
	{"not_overtaken", group_not_overtaken, NULL,
	 "Those of them sent after the last one that has its answer.", NULL},
	{NULL, NULL, NULL, NULL, NULL},
};

DEFINE_ALONE(group_take)

static PyMethodDef group_methods[] = {
	{"take", ALONE(group_take), METH_NOARGS,
	 "take($self, /)\n--\n\nWhat has come to its end since the last call."},
	{NULL, NULL, 0, NULL},
};

static PyType_Slot group_slots[] = {
	{Py_tp_doc, group_doc},
	{Py_tp_new, group_construct},
	{Py_tp_dealloc, group_dealloc},
	{Py_tp_members, group_members},
	{Py_tp_getset, group_properties},
	{Py_tp_methods, group_methods},
	{Py_mp_length, group_length},
	{0, NULL},
};

PyType_Spec echo_group_spec = {
	.name = "aioprocket._system._native.EchoGroup",
	.basicsize = sizeof(struct echo_group),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = group_slots,
};
