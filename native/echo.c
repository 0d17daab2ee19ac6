/* SPDX-License-Identifier: MIT */
/*
 * Echo: what became of one probe, in as few bytes as it takes.  An address or
 * a number becomes a Python object only when it is asked for.
 */
#include "echo.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <string.h>
#include <structmember.h>

static const char *const clock_names[] = {
	[CLOCK_RECEIVE] = "receive",
	[CLOCK_KERNEL] = "kernel",
	[CLOCK_PROGRAM] = "program",
};

static int
read_clock(const char *name, uint8_t *clock)
{
	for (uint8_t at = CLOCK_RECEIVE; at <= CLOCK_PROGRAM; at++) {
		if (strcmp(name, clock_names[at]) == 0) {
			*clock = at;
			return 0;
		}
	}
	PyErr_Format(PyExc_ValueError, "no such clock: %s", name);
	return -1;
}

static int
read_address(struct echo *self, const char *packed, Py_ssize_t length)
{
	if (length != 4 && length != ECHO_ADDRESS) {
		PyErr_SetString(PyExc_ValueError,
				"an address has 4 or 16 bytes");
		return -1;
	}
	self->version = length == 4 ? 4 : 6;
	memcpy(self->address, packed, (size_t)length);
	return 0;
}

static int
read_rtt(struct echo *self, PyObject *rtt)
{
	if (rtt == Py_None)
		return 0;
	self->rtt = PyFloat_AsDouble(rtt);
	return self->rtt == -1.0 && PyErr_Occurred() ? -1 : 0;
}

static int
read_ttl(struct echo *self, PyObject *ttl)
{
	long value;

	if (ttl == Py_None)
		return 0;
	value = PyLong_AsLong(ttl);
	if (value == -1 && PyErr_Occurred())
		return -1;
	self->ttl = (int16_t)value;
	return 0;
}

static int
fill_in(struct echo *self, PyObject *args, PyObject *kwargs)
{
	static char *names[] = {"host", "packed", "sequence", "scope", "rtt",
				"sent_ns", "received_ns", "ttl", "size",
				"duplicates", "error", "clock", NULL};
	PyObject *host, *rtt = Py_None, *ttl = Py_None, *error = Py_None;
	const char *packed, *clock = "receive";
	Py_ssize_t length;
	long long sent_ns = 0, received_ns = 0;

	if (!PyArg_ParseTupleAndKeywords(
		    args, kwargs, "Uy#I|$IOLLOIIOs:Echo", names, &host,
		    &packed, &length, &self->sequence, &self->scope, &rtt,
		    &sent_ns, &received_ns, &ttl, &self->size,
		    &self->duplicates, &error, &clock))
		return -1;
	self->sent_ns = sent_ns;
	self->received_ns = received_ns;
	if (PyUnicode_GetLength(host) > 0)
		self->host = Py_NewRef(host);
	if (error != Py_None)
		self->error = Py_NewRef(error);
	if (read_address(self, packed, length) < 0 ||
	    read_rtt(self, rtt) < 0 || read_ttl(self, ttl) < 0)
		return -1;
	return read_clock(clock, &self->clock);
}

static PyObject *
echo_construct(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	struct echo *self = (struct echo *)PyType_GenericAlloc(type, 0);

	if (self == NULL)
		return NULL;
	self->rtt = -1.0;
	self->ttl = ECHO_NO_TTL;
	if (fill_in(self, args, kwargs) < 0)
		Py_CLEAR(self);
	return (PyObject *)self;
}

static void
echo_dealloc(PyObject *op)
{
	struct echo *self = (struct echo *)op;
	PyTypeObject *type = Py_TYPE(op);

	Py_XDECREF(self->host);
	Py_XDECREF(self->error);
	PyObject_Free(self);
	Py_DECREF(type);
}

PyObject *
echo_host(PyObject *op, void *closure)
{
	const struct echo *self = (struct echo *)op;
	char text[INET6_ADDRSTRLEN];

	(void)closure;
	if (self->host != NULL)
		return Py_NewRef(self->host);
	if (inet_ntop(self->version == 4 ? AF_INET : AF_INET6, self->address,
		      text, sizeof(text)) == NULL)
		return PyErr_SetFromErrno(PyExc_OSError);
	return PyUnicode_FromString(text);
}

PyObject *
echo_packed(PyObject *op, void *closure)
{
	const struct echo *self = (struct echo *)op;

	(void)closure;
	return PyBytes_FromStringAndSize((const char *)self->address,
					 self->version == 4 ? 4 : ECHO_ADDRESS);
}

PyObject *
echo_rtt(PyObject *op, void *closure)
{
	const struct echo *self = (struct echo *)op;

	(void)closure;
	if (self->rtt < 0)
		Py_RETURN_NONE;
	return PyFloat_FromDouble(self->rtt);
}

static PyObject *
get_ok(PyObject *op, void *closure)
{
	(void)closure;
	return PyBool_FromLong(((struct echo *)op)->rtt >= 0);
}

PyObject *
echo_ttl(PyObject *op, void *closure)
{
	const struct echo *self = (struct echo *)op;

	(void)closure;
	if (self->ttl == ECHO_NO_TTL)
		Py_RETURN_NONE;
	return PyLong_FromLong(self->ttl);
}

static PyObject *
get_error(PyObject *op, void *closure)
{
	const struct echo *self = (struct echo *)op;

	(void)closure;
	return Py_NewRef(self->error == NULL ? Py_None : self->error);
}

PyObject *
echo_clock(PyObject *op, void *closure)
{
	(void)closure;
	return PyUnicode_InternFromString(
		clock_names[((struct echo *)op)->clock]);
}

static char echo_doc[] =
"Echo(host, packed, sequence, *, scope=0, rtt=None, sent_ns=0,\n"
"     received_ns=0, ttl=None, size=0, duplicates=0, error=None,\n"
"     clock='receive')\n"
"--\n"
"\n"
"One probe and its end: a reply, an error, or nothing in time.\n"
"\n"
"Args:\n"
"    host: As it was asked for; empty: by its address.\n"
"    packed: The address: 4 or 16 bytes.\n"
"    sequence: Which probe to this host, from 0.\n"
"    scope: The interface's index of a link-local address of IPv6.\n"
"    rtt: Seconds; None: there was no reply.\n"
"    sent_ns: When it left, by the realtime clock.\n"
"    received_ns: When the reply or the error came; 0: nothing did.\n"
"    ttl: Time to live (hop limit) of the reply; None: not known.\n"
"    size: Bytes of the reply behind its ICMP header.\n"
"    duplicates: Further replies, as far as they came before it was made.\n"
"    error: An EchoError: why there is no reply, where that is known.\n"
"    clock: What measured rtt. 'kernel': its timestamps of both packets;\n"
"        'receive': that of the reply, and the program's clock right\n"
"        before it sent; 'program': the program's monotonic clock alone.";

static PyGetSetDef echo_getset[] = {
	{"host", echo_host, NULL, "As it was asked for.", NULL},
	{"packed", echo_packed, NULL, "The address: 4 or 16 bytes.", NULL},
	{"address", echo_address, NULL, "Where it went, as of ipaddress.", NULL},
	{"rtt", echo_rtt, NULL, "Seconds; None without a reply.", NULL},
	{"ok", get_ok, NULL, "Whether there was a reply.", NULL},
	{"ttl", echo_ttl, NULL, "Of the reply; None: not known.", NULL},
	{"error", get_error, NULL, "Why there is no reply, if it is known.", NULL},
	{"clock", echo_clock, NULL, "What the round trip was measured by.", NULL},
	{NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef echo_methods[] = {
	{"with_duplicates", echo_with_duplicates, METH_O,
	 "with_duplicates($self, count, /)\n--\n\n"
	 "The same, with another number of further replies."},
	{"__getnewargs_ex__", echo_newargs, METH_NOARGS, NULL},
	{NULL, NULL, 0, NULL},
};

static PyMemberDef echo_members[] = {
	{"sequence", T_UINT, offsetof(struct echo, sequence), READONLY,
	 "Which probe to this host, from 0."},
	{"scope", T_UINT, offsetof(struct echo, scope), READONLY,
	 "The interface's index of a link-local address."},
	{"sent_ns", T_LONGLONG, offsetof(struct echo, sent_ns), READONLY,
	 "When it left, by the realtime clock."},
	{"received_ns", T_LONGLONG, offsetof(struct echo, received_ns),
	 READONLY, "When the reply or the error came; 0: nothing did."},
	{"size", T_UINT, offsetof(struct echo, size), READONLY,
	 "Bytes of the reply behind its ICMP header."},
	{"duplicates", T_UINT, offsetof(struct echo, duplicates), READONLY,
	 "Further replies."},
	{NULL, 0, 0, 0, NULL},
};

static PyType_Slot echo_slots[] = {
	{Py_tp_doc, echo_doc},
	{Py_tp_new, echo_construct},
	{Py_tp_dealloc, echo_dealloc},
	{Py_tp_getset, echo_getset},
	{Py_tp_members, echo_members},
	{Py_tp_methods, echo_methods},
	{Py_tp_repr, echo_repr},
	{Py_tp_hash, echo_hash},
	{Py_tp_richcompare, echo_compare},
	{0, NULL},
};

PyType_Spec echo_spec = {
	.name = "aioprocket._system._native.Echo",
	.basicsize = sizeof(struct echo),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = echo_slots,
};
