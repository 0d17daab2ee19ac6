/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_SENDERS_H
#define AIOPROCKET_SENDERS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "address.h"

enum { SENDERS_SIZE = 64 };

/*
 * Addresses that packets came from, built for Python: most come from a sender
 * that sent before, and to build one takes longer than to find it.
 */
struct senders {
	struct {
		union address address;
		PyObject *addr;
	} entries[SENDERS_SIZE];
};

PyObject **senders_find(struct senders **senders, const union address *address);
void senders_free(struct senders *senders);

#endif
