/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_ECHO_H
#define AIOPROCKET_ECHO_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>

enum {
	ECHO_ADDRESS = 16,	/* bytes that hold any address */
	ECHO_NO_TTL = -1,
};

enum echo_clock { CLOCK_RECEIVE, CLOCK_KERNEL, CLOCK_PROGRAM };

/* One probe and its end, as Echo. */
struct echo {
	PyObject_HEAD
	PyObject *host;		/* NULL: its address */
	PyObject *error;	/* NULL: none */
	double rtt;		/* seconds; negative: no reply */
	int64_t sent_ns;
	int64_t received_ns;
	uint32_t scope;
	uint32_t sequence;
	uint32_t size;
	uint32_t duplicates;
	int16_t ttl;
	uint8_t version;
	uint8_t clock;
	unsigned char address[ECHO_ADDRESS];
};

extern PyType_Spec echo_spec;

PyObject *echo_host(PyObject *op, void *closure);
PyObject *echo_packed(PyObject *op, void *closure);
PyObject *echo_rtt(PyObject *op, void *closure);
PyObject *echo_ttl(PyObject *op, void *closure);
PyObject *echo_clock(PyObject *op, void *closure);

/* echo_access.c */
PyObject *echo_address(PyObject *op, void *closure);
PyObject *echo_with_duplicates(PyObject *op, PyObject *count);
PyObject *echo_newargs(PyObject *op, PyObject *ignored);
PyObject *echo_repr(PyObject *op);
PyObject *echo_compare(PyObject *one, PyObject *other, int operation);
Py_hash_t echo_hash(PyObject *op);

#endif
