/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_GATHERER_H
#define AIOPROCKET_GATHERER_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

struct gatherer {
	PyObject_HEAD
	struct sender *sender;
	PyObject *otherwise;
	PyObject *items;	/* list of (data, addr) */
	char open;
};

extern PyType_Spec gatherer_spec;

#endif
