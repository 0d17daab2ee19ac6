/* SPDX-License-Identifier: MIT */
/* What an Echo can do besides having attributes. */
#include "echo.h"

#include <string.h>

PyObject *
echo_address(PyObject *op, void *closure)
{
	const struct echo *self = (struct echo *)op;
	PyObject *module, *address = NULL, *argument;

	argument = echo_packed(op, closure);
	module = PyImport_ImportModule("ipaddress");
	if (module != NULL && argument != NULL)
		address = PyObject_CallMethod(module, "ip_address", "O",
					      argument);
	Py_XDECREF(argument);
	if (address != NULL && self->scope != 0) {
		argument = PyUnicode_FromFormat("%S%%%u", address, self->scope);
		Py_CLEAR(address);
		if (argument != NULL)
			address = PyObject_CallMethod(module, "ip_address", "O",
						      argument);
		Py_XDECREF(argument);
	}
	Py_XDECREF(module);
	return address;
}

PyObject *
echo_with_duplicates(PyObject *op, PyObject *count)
{
	const struct echo *self = (struct echo *)op;
	unsigned long duplicates = PyLong_AsUnsignedLong(count);
	struct echo *copy;

	if (duplicates == (unsigned long)-1 && PyErr_Occurred())
		return NULL;
	copy = (struct echo *)PyType_GenericAlloc(Py_TYPE(op), 0);
	if (copy == NULL)
		return NULL;
	memcpy((char *)copy + sizeof(PyObject),
	       (const char *)self + sizeof(PyObject),
	       sizeof(*self) - sizeof(PyObject));
	Py_XINCREF(copy->host);
	Py_XINCREF(copy->error);
	copy->duplicates = (uint32_t)duplicates;
	return (PyObject *)copy;
}

PyObject *
echo_newargs(PyObject *op, PyObject *Py_UNUSED(ignored))
{
	const struct echo *self = (struct echo *)op;
	PyObject *error = self->error == NULL ? Py_None : self->error;

	return Py_BuildValue(
		"(NNI){sI sN sL sL sN sI sI sO sN}", echo_host(op, NULL),
		echo_packed(op, NULL), self->sequence, "scope", self->scope,
		"rtt", echo_rtt(op, NULL), "sent_ns", (long long)self->sent_ns,
		"received_ns", (long long)self->received_ns, "ttl",
		echo_ttl(op, NULL), "size", self->size, "duplicates",
		self->duplicates, "error", error, "clock",
		echo_clock(op, NULL));
}

PyObject *
echo_repr(PyObject *op)
{
	const struct echo *self = (struct echo *)op;
	PyObject *host = echo_host(op, NULL), *rtt = echo_rtt(op, NULL);
	PyObject *ttl = echo_ttl(op, NULL), *clock = echo_clock(op, NULL);
	PyObject *text = NULL;

	if (host != NULL && rtt != NULL && ttl != NULL && clock != NULL)
		text = PyUnicode_FromFormat(
			"Echo(host=%R, sequence=%u, rtt=%R, ttl=%R, size=%u, "
			"duplicates=%u, error=%R, clock=%R)",
			host, self->sequence, rtt, ttl, self->size,
			self->duplicates,
			self->error == NULL ? Py_None : self->error, clock);
	Py_XDECREF(host);
	Py_XDECREF(rtt);
	Py_XDECREF(ttl);
	Py_XDECREF(clock);
	return text;
}

/* -1 with an exception. */
static int
equal(PyObject *one, PyObject *other)
{
	PyObject *mine = echo_newargs(one, NULL);
	PyObject *theirs = mine == NULL ? NULL : echo_newargs(other, NULL);
	int same = theirs == NULL
			   ? -1
			   : PyObject_RichCompareBool(mine, theirs, Py_EQ);

	Py_XDECREF(mine);
	Py_XDECREF(theirs);
	return same;
}

PyObject *
echo_compare(PyObject *one, PyObject *other, int operation)
{
	int same;

	if (Py_TYPE(one) != Py_TYPE(other) ||
	    (operation != Py_EQ && operation != Py_NE))
		Py_RETURN_NOTIMPLEMENTED;
	same = equal(one, other);
	if (same < 0)
		return NULL;
	return PyBool_FromLong(same == (operation == Py_EQ));
}

Py_hash_t
echo_hash(PyObject *op)
{
	const struct echo *self = (struct echo *)op;
	Py_hash_t hash = (Py_hash_t)self->sent_ns ^ (Py_hash_t)self->sequence;

	for (int byte = 0; byte < ECHO_ADDRESS; byte++)
		hash = (Py_hash_t)((size_t)hash * 31 + self->address[byte]);
	return hash == -1 ? -2 : hash;
}
