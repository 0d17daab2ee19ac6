/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_COALESCED_H
#define AIOPROCKET_COALESCED_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <sys/socket.h>
#include <sys/uio.h>

struct receiver;

/* Slots of the scratch, while their packets are given away one by one. */
struct flight {
	struct receiver *receiver;
	struct mmsghdr *next;
	struct mmsghdr *end;
	/* In the next, where it is several datagrams in one: */
	size_t segment;		/* bytes of each but the last */
	size_t offset;		/* of the first that was not given away */
};

/* A datagram that came with others, as if it had come alone. */
struct alone {
	struct mmsghdr slot;
	struct iovec data;
};

struct mmsghdr *coalesced_next(struct flight *flight, struct alone *alone);
int coalesced_gather(struct receiver *self, PyObject **packets,
		     struct flight *flight, Py_ssize_t wanted);
void coalesced_learn(struct receiver *self, unsigned long long before,
		     int filled);
int coalesced_slots(const struct receiver *self, Py_ssize_t packets);
int coalesced_set_rest(PyObject *op, PyObject *value, void *closure);
PyObject *coalesced_get_rest(PyObject *op, void *closure);

#endif
