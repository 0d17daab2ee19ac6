/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_BACKLOG_H
#define AIOPROCKET_BACKLOG_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* Packets in a ring of room places, a power of two. */
struct backlog {
	PyObject_HEAD
	PyObject **items;
	size_t room;
	size_t first;
	size_t count;
};

int backlog_append(struct backlog *self, PyObject *packet);
int backlog_prepend(struct backlog *self, PyObject *packet);
PyObject *backlog_pop(struct backlog *self);

extern PyType_Spec backlog_spec;

#endif
