/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_DISPATCH_H
#define AIOPROCKET_DISPATCH_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

extern const char dispatch_doc[];

PyObject *dispatch(PyObject *receiver, PyObject *args);

#endif
