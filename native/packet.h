/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_PACKET_H
#define AIOPROCKET_PACKET_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdatomic.h>
#include <stdint.h>

#include "address.h"

enum direction {
	DIRECTION_IN,
	DIRECTION_OUT,
	DIRECTION_BROADCAST,
	DIRECTION_MULTICAST,
	DIRECTION_OTHERHOST,
	DIRECTION_COUNT,
};

/*
 * Immutable for Python.  Holds only bytes, str and tuples of the like, so it
 * can be part of no cycle and the garbage collector need not know it: a
 * thousand packets kept are not a thousand objects to traverse.
 */
struct packet {
	PyObject_HEAD
	PyObject *data;			/* bytes */
	PyObject *ancdata;		/* NULL when there is none */
	PyObject *ifname;		/* str of an AF_PACKET address */
	_Atomic(PyObject *) addr;	/* NULL until asked for */
	int64_t timestamp_ns;		/* 0: the kernel gave none */
	uint32_t wire_len;
	int ifindex;
	uint16_t vlan_tci;
	uint16_t vlan_tpid;		/* 0: untagged */
	uint8_t direction;
	char truncated;
	union address address;		/* family 0: no address */
};

extern const char *const packet_directions[DIRECTION_COUNT];

struct packet *packet_new(PyTypeObject *type, PyObject *data);
PyObject *packet_construct(PyTypeObject *type, PyObject *args,
			   PyObject *kwargs);

extern PyType_Spec packet_spec;

#endif
