/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_PASSING_H
#define AIOPROCKET_PASSING_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* Functions of the module, METH_FASTCALL. */
PyObject *passing_receive(PyObject *module, PyObject *const *args,
			  Py_ssize_t count);
PyObject *passing_kind(PyObject *module, PyObject *const *args,
		       Py_ssize_t count);

extern const char passing_receive_doc[], passing_kind_doc[];

#endif
