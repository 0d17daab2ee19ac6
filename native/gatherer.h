/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_GATHERER_H
#define AIOPROCKET_GATHERER_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "address.h"

struct sender;

struct gathered {
	PyObject *data;		/* bytes */
	PyObject *addr;
	union address name;
	socklen_t length;	/* of name; 0: to where the socket is connected */
};

struct gatherer {
	PyObject_HEAD
	struct sender *sender;
	PyObject *otherwise;
	struct gathered *items;	/* NULL until needed */
	int count;
	int failure;		/* the errno that the first of them was refused with */
	char open;
	char direct;		/* nothing is to go before them */
};

void gatherer_flush(struct gatherer *self);

extern PyType_Spec gatherer_spec;

#endif
