/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_BATCH_TYPE_H
#define AIOPROCKET_BATCH_TYPE_H

#include "columns.h"
#include "module.h"
#include "ring_walk.h"
#include "slab.h"

/*
 * Some packets that came together.  Either they lie in a slab, and columns
 * say where; or they are a list of packets, and the columns, with the bytes
 * that they are about, are made when somebody asks for them.
 */
struct batch {
	PyObject_HEAD
	struct module_state *state;
	struct slab *slab;	/* pinned; NULL: a list */
	struct batch *next;	/* of those in the same slab */
	struct batch **link;
	struct columns *columns;
	PyObject *packets;	/* the list */
	PyObject *joined;	/* bytes of all in the list */
	Py_ssize_t count;
	Py_ssize_t exports;
	uint64_t serial;	/* of the first packet; they are numbered */
};

/* Of the packets of a batch, but for their number. */
struct tally {
	uint64_t bytes;
	uint64_t truncated;
};

struct batch *batch_take(struct module_state *state, struct slab *slab,
			 struct walk *walk, Py_ssize_t count,
			 struct tally *tally);
struct batch *batch_place(struct module_state *state, struct slab *slab,
			  struct columns *columns, Py_ssize_t count);
/* The kernel's header of one that lies in a slab. */
static inline const struct tpacket3_hdr *
batch_header(const struct batch *self, Py_ssize_t at)
{
	const struct columns *columns = self->columns;
	uint32_t place = columns->before > 0
				 ? columns->offsets[at] - columns->before
				 : columns->headers[at];

	return (const void *)(self->slab->memory + place);
}

int batch_name(struct batch *batch);
int batch_copy_out(struct batch *batch);
void batch_move(struct batch *batch, struct slab *slab);
struct packet *batch_at(const struct batch *self, Py_ssize_t at);
int batch_fill_columns(struct batch *self);
PyObject *batch_bytes(struct batch *self);
PyObject *batch_field(PyObject *op, PyObject *args);
PyObject *batch_read_block(PyObject *module, PyObject *args);

extern PyType_Spec batch_spec;
extern PyType_Spec batch_iterator_spec;

#endif
