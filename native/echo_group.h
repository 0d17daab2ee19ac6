/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_ECHO_GROUP_H
#define AIOPROCKET_ECHO_GROUP_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stdint.h>

enum {
	ECHO_HASH = 8,		/* bytes of a cookie: its hash, */
	ECHO_COOKIE = 16,	/* and the serial number behind it */
	ECHO_NONE = -1,		/* no slot */
};

/* Probes of one task: what they look like, and those that fly, oldest first. */
struct echo_group {
	PyObject_HEAD
	PyObject *finished;	/* list of Echo */
	PyObject *repeats;	/* dict: sequence to number of duplicates */
	unsigned char *filling;	/* what follows the cookie */
	uint64_t number;	/* in its table, from 1; 0: not there yet */
	size_t size;		/* bytes behind the ICMP header */
	uint16_t filling_sum;
	bool anybody;
	bool stamped;
	int64_t timeout_ns;
	int32_t oldest;		/* indexes of slots in the table */
	int32_t newest;
	int32_t in_flight;
	uint64_t next;		/* after the serial sent last, */
	uint64_t answered;	/* and the last that has its answer */
};

extern PyType_Spec echo_group_spec;

int echo_group_repeat(struct echo_group *group, uint32_t sequence);

#endif
