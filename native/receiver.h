/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_RECEIVER_H
#define AIOPROCKET_RECEIVER_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "control.h"
#include "ifnames.h"
#include "module.h"
#include "senders.h"

struct receiver {
	PyObject_HEAD
	struct module_state *state;
	int fd;
	bool is_socket;
	bool zero_is_end;
	bool skip_ip_header;
	int flags;
	int failure;		/* met after packets; for the next call */
	size_t size;		/* of a slot */
	size_t header;		/* bytes of virtio_net_hdr before a packet */
	size_t typical;		/* mean length of the last packets */
	int per_slot;		/* their mean number in a slot, 1 without rest */
	unsigned long long packets;
	unsigned long long bytes;
	unsigned long long truncated;
	struct overflow overflow;
	struct last_ancdata last_ancdata;
	struct frames *frames;		/* NULL: by system calls */
	struct backlog *rest;		/* NULL: nothing comes coalesced */
	struct ifnames *ifnames;	/* NULL until needed */
	struct senders *senders;	/* as well */
};

PyObject *receiver_take(struct receiver *self, Py_ssize_t count);

extern PyType_Spec receiver_spec;

#endif
