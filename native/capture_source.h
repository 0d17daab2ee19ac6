/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_CAPTURE_SOURCE_H
#define AIOPROCKET_CAPTURE_SOURCE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stdint.h>

#include "module.h"
#include "packet.h"

/* What is written of a packet. */
struct record {
	const unsigned char *bytes;
	size_t length;
	uint32_t wire_len;
	int64_t timestamp_ns;
	const struct sockaddr_ll *sender;	/* NULL: of no packet socket */
	uint16_t vlan_tci;
	uint16_t vlan_tpid;
	enum direction direction;
	bool undirected;
};

/* Packets, wherever they are: a batch in a ring, or a list. */
struct source {
	const struct batch *batch;	/* NULL: a list */
	PyObject *list;
	Py_ssize_t count;
};

void capture_record(struct record *record, const struct source *source,
		    Py_ssize_t at);
int capture_open(struct source *source, PyObject *packets,
		 const struct module_state *state);

#endif
