/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_SENDER_H
#define AIOPROCKET_SENDER_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>

#include "destination.h"
#include "module.h"

struct sender {
	PyObject_HEAD
	struct module_state *state;
	int fd;
	int family;
	bool is_socket;
	char segments;		/* datagrams may go several in one */
	char tags;		/* what is sent are frames, with their VLAN tags */
	size_t header;		/* bytes of virtio_net_hdr before a packet */
	int failure;		/* why the last send() ended early */
	unsigned long long packets;
	unsigned long long bytes;
	struct known_destinations *known;	/* NULL until needed */
};

struct iovec;
struct mmsghdr;

bool sender_write(struct sender *self, unsigned char *header,
		  const struct iovec *parts, size_t count);
int sender_transmit(struct sender *self, struct mmsghdr *messages, int count);
int sender_transmit_plainly(struct sender *self, struct mmsghdr *messages,
			    int count);

extern PyType_Spec sender_spec;

#endif
