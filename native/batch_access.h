/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_BATCH_ACCESS_H
#define AIOPROCKET_BATCH_ACCESS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

Py_ssize_t batch_length(PyObject *op);
PyObject *batch_item(PyObject *op, Py_ssize_t at);
PyObject *batch_subscript(PyObject *op, PyObject *key);
int batch_contains(PyObject *op, PyObject *packet);
PyObject *batch_iter(PyObject *op);
PyObject *batch_index(PyObject *op, PyObject *args);
PyObject *batch_count(PyObject *op, PyObject *packet);
extern const char batch_index_doc[];
extern const char batch_count_doc[];

PyObject *batch_get_timestamps_ns(PyObject *op, void *closure);
PyObject *batch_get_wire_lens(PyObject *op, void *closure);
PyObject *batch_get_lens(PyObject *op, void *closure);
PyObject *batch_get_offsets(PyObject *op, void *closure);
PyObject *batch_get_vlan_tcis(PyObject *op, void *closure);
PyObject *batch_get_buffer(PyObject *op, void *closure);
PyObject *batch_buffer(PyObject *op, PyObject *flags);
extern const char batch_field_doc[];

#endif
