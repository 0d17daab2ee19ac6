/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_CRITICAL_H
#define AIOPROCKET_CRITICAL_H

#include "module.h"

/*
 * Around what one thread at a time may do to an object, where no GIL sees to
 * it.  As the GIL, it is let go of where a callback or a lock waits.
 */
#ifdef Py_GIL_DISABLED
#define BEGIN(op) Py_BEGIN_CRITICAL_SECTION(op)
#define END() Py_END_CRITICAL_SECTION()
#define BEGIN_BOTH(one, other) Py_BEGIN_CRITICAL_SECTION2(one, other)
#define END_BOTH() Py_END_CRITICAL_SECTION2()
#else
#define BEGIN(op) {
#define END() }
#define BEGIN_BOTH(one, other) {
#define END_BOTH() }
#endif

/*
 * ALONE(method) in a table of methods is method, by one thread at a time;
 * DEFINE_ALONE(method) goes before.  ALONE_WITH: nor anything with what is the
 * first of its arguments, or the only one.
 */
#ifdef Py_GIL_DISABLED
#define ALONE(method) method##_alone
#define DEFINE_ALONE(method)                                    \
	static PyObject *method##_alone(PyObject *op, PyObject *argument) \
	{                                                       \
		PyObject *returned;                             \
                                                                \
		BEGIN(op);                                      \
		returned = method(op, argument);                \
		END();                                          \
		return returned;                                \
	}
#define DEFINE_ALONE_WITH(method)                               \
	static PyObject *method##_alone(PyObject *op, PyObject *argument) \
	{                                                       \
		PyObject *returned, *first = argument;          \
                                                                \
		if (PyTuple_Check(argument))                    \
			first = PyTuple_Size(argument) > 0      \
					? PyTuple_GetItem(argument, 0) \
					: op;                   \
		BEGIN_BOTH(op, first);                          \
		returned = method(op, argument);                \
		END_BOTH();                                     \
		return returned;                                \
	}
#else
#define ALONE(method) method
#define DEFINE_ALONE(method)
#define DEFINE_ALONE_WITH(method)
#endif

#endif
