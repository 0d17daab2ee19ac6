/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_PACKET_H
#define AIOPROCKET_PACKET_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "address.h"
#include "slab.h"

enum direction {
	DIRECTION_IN,
	DIRECTION_OUT,
	DIRECTION_BROADCAST,
	DIRECTION_MULTICAST,
	DIRECTION_OTHERHOST,
	DIRECTION_COUNT,
};

struct frame;
struct module_state;
struct tpacket3_hdr;

/*
 * Immutable for Python.  Holds only bytes, str and tuples of the like, so it
 * can be part of no cycle and the garbage collector need not know it: a
 * thousand packets kept are not a thousand objects to traverse.
 *
 * Its bytes are those of data, or lie in a slab: then data is made when
 * somebody asks for it, and all that the kernel wrote beside the bytes is
 * read from its header when somebody asks for any of it.
 */
struct packet {
	PyObject_HEAD
	const struct module_state *state;	/* of the type, which keeps it */
	const unsigned char *bytes;
	Py_ssize_t length;
	PyObject *data;			/* bytes; NULL until asked for */
	struct slab *slab;		/* NULL: the bytes are those of data */
	struct packet *next;		/* of those in the same slab */
	struct packet **link;
	const struct tpacket3_hdr *header;	/* NULL: the fields are filled */
	Py_ssize_t exports;
	uint64_t serial;		/* 0: of no batch */
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
	bool changed;			/* more than bytes and header is set */
	bool undirected;		/* of a file that has no directions */
	union address address;		/* family 0: no address */
};

extern const char *const packet_directions[DIRECTION_COUNT];

struct packet *packet_new(PyTypeObject *type, PyObject *data);
PyObject *packet_construct(PyTypeObject *type, PyObject *args,
			   PyObject *kwargs);

struct packet *packet_place(PyTypeObject *type, struct slab *slab,
			    const struct frame *frame, uint64_t serial);
void packet_replace(struct packet *self, const struct frame *frame,
		    uint64_t serial);
bool packet_is_ours(struct packet *self, const struct slab *slab);
int packet_move_out(struct packet *self);
void packet_leave(struct packet *self);
void packet_load(struct packet *self);
int64_t packet_timestamp(const struct packet *self);
PyObject *packet_data(struct packet *self);
PyObject *packet_addr(struct packet *self);

PyObject *packet_subscript(PyObject *op, PyObject *key);
int packet_getbuffer(PyObject *op, Py_buffer *view, int flags);
void packet_releasebuffer(PyObject *op, Py_buffer *view);
PyObject *packet_tagged(PyObject *op, PyObject *unused);
PyObject *packet_compare(PyObject *one, PyObject *other, int operation);
Py_hash_t packet_hash(PyObject *op);
PyObject *packet_repr(PyObject *op);

enum direction packet_direction(unsigned char pkttype);

extern PyType_Spec packet_spec;

#endif
