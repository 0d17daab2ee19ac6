/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_DISPATCH_H
#define AIOPROCKET_DISPATCH_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stdint.h>

struct delivery;
struct receiver;

int receiver_dispatch(struct receiver *receiver, struct delivery *delivery,
		      PyObject *callback, Py_ssize_t budget, bool datagrams,
		      int64_t nanoseconds);
extern const char dispatch_doc[];

PyObject *dispatch(PyObject *receiver, PyObject *args);

#endif
