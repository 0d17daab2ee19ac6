/* SPDX-License-Identifier: MIT */
/* A batch as columns: one number of each packet, without the packets. */
#include "batch_access.h"

#include "batch_type.h"
#include "critical.h"
#include "packet.h"

#include <endian.h>
#include <string.h>

enum { MAX_WIDTH = 64 };

struct packet *
batch_at(const struct batch *self, Py_ssize_t at)
{
	return (struct packet *)PyList_GetItem(self->packets, at);
}

/* The bytes of a list's packets, one behind the other: a borrowed reference. */
PyObject *
batch_bytes(struct batch *self)
{
	Py_ssize_t total = 0;
	PyObject *joined;
	char *target;

	if (self->joined != NULL)
		return self->joined;
	for (Py_ssize_t at = 0; at < self->count; at++)
		total += batch_at(self, at)->length;
	joined = PyBytes_FromStringAndSize(NULL, total);
	if (joined == NULL)
		return NULL;
	target = PyBytes_AsString(joined);
	for (Py_ssize_t at = 0; at < self->count; at++) {
		const struct packet *packet = batch_at(self, at);

		memcpy(target, packet->bytes, (size_t)packet->length);
		target += packet->length;
	}
	self->joined = joined;
	return joined;
}

static int32_t
vlan_tci(const struct tpacket3_hdr *header)
{
	if ((header->tp_status & TP_STATUS_VLAN_VALID) == 0)
		return UNTAGGED;
	return (int32_t)(header->hv1.tp_vlan_tci & UINT16_MAX);
}

/* Those of packets in a slab that are seldom asked for. */

static uint32_t *
wire_lens(struct batch *self)
{
	struct columns *columns = self->columns;

	if (!columns->cut)
		return columns->lens;
	for (Py_ssize_t at = 0;
	     !columns->wire_lens_filled && at < self->count; at++)
		columns->wire_lens[at] = batch_header(self, at)->tp_len;
	columns->wire_lens_filled = true;
	return columns->wire_lens;
}

static int32_t *
vlan_tcis(struct batch *self)
{
	struct columns *columns = self->columns;

	for (Py_ssize_t at = 0;
	     !columns->vlan_tcis_filled && at < self->count; at++)
		columns->vlan_tcis[at] =
			columns->tagged ? vlan_tci(batch_header(self, at))
					: UNTAGGED;
	columns->vlan_tcis_filled = true;
	return columns->vlan_tcis;
}

/* All columns of a list: 0, or -1 with an exception. */
int
batch_fill_columns(struct batch *self)
{
	struct columns *columns;
	uint32_t offset = 0;

	if (self->columns != NULL)
		return 0;
	columns = columns_new(self->state, self->count);
	if (columns == NULL)
		return -1;
	for (Py_ssize_t at = 0; at < self->count; at++) {
		struct packet *packet = batch_at(self, at);

		packet_load(packet);
		columns->timestamps_ns[at] = packet->timestamp_ns;
		columns->wire_lens[at] = packet->wire_len;
		columns->lens[at] = (uint32_t)packet->length;
		columns->offsets[at] = offset;
		columns->vlan_tcis[at] = packet->vlan_tpid != 0
						 ? packet->vlan_tci
						 : UNTAGGED;
		offset += (uint32_t)packet->length;
	}
	columns->cut = true;
	columns->wire_lens_filled = true;
	columns->vlan_tcis_filled = true;
	self->columns = columns;
	return 0;
}

#define COLUMN(name, items, format)                                     \
	PyObject *batch_get_##name(PyObject *op, void *closure)         \
	{                                                               \
		struct batch *self = (struct batch *)op;                \
		PyObject *view = NULL;                                  \
                                                                        \
		(void)closure;                                          \
		BEGIN(op);                                              \
		if (batch_fill_columns(self) == 0)                      \
			view = column_view(self->columns, items,        \
					   self->count, format);        \
		END();                                                  \
		return view;                                            \
	}

COLUMN(timestamps_ns, self->columns->timestamps_ns, "q")
COLUMN(wire_lens, wire_lens(self), "I")
COLUMN(lens, self->columns->lens, "I")
COLUMN(offsets, self->columns->offsets, "I")
COLUMN(vlan_tcis, vlan_tcis(self), "i")

PyObject *
batch_get_buffer(PyObject *op, void *closure)
{
	(void)closure;
	return PyMemoryView_FromObject(op);
}

/* PEP 688.  Python 3.12 and later put a method of their own before this one. */
PyObject *
batch_buffer(PyObject *op, PyObject *flags)
{
	(void)flags;
	return PyMemoryView_FromObject(op);
}

/* Gathering */

const char batch_field_doc[] =
"field($self, offset, width, /)\n"
"--\n"
"\n"
"Return one header field of every packet: width bytes at offset.\n"
"\n"
"Width 1, 2, 4 and 8 are numbers (format ``B H I Q``), read in network order;\n"
"any other up to 64 are rows of bytes, a buffer of two dimensions. Zero where a\n"
"packet is too short to have all of the field: compare `lens`.\n"
"\n"
"Raises:\n"
"    ValueError: A negative offset, or a width that is not 1 to 64.";

struct gather {
	const unsigned char *memory;
	const uint32_t *offsets;
	const uint32_t *lens;
	Py_ssize_t count;
	size_t offset;
	size_t width;
};

static const unsigned char *
at_field(const struct gather *gather, Py_ssize_t at)
{
	if (gather->lens[at] < gather->offset + gather->width)
		return NULL;
	return gather->memory + gather->offsets[at] + gather->offset;
}

#define GATHER(type, swap)                                                  \
	static void gather_##type(const struct gather *gather, void *items) \
	{                                                                   \
		type *numbers = items, number;                              \
                                                                            \
		for (Py_ssize_t at = 0; at < gather->count; at++) {         \
			const unsigned char *field = at_field(gather, at);  \
                                                                            \
			if (field == NULL)                                  \
				continue;                                   \
			memcpy(&number, field, sizeof(number));             \
			numbers[at] = (type)swap(number);                   \
		}                                                           \
	}

GATHER(uint8_t, )
GATHER(uint16_t, be16toh)
GATHER(uint32_t, be32toh)
GATHER(uint64_t, be64toh)

static void
gather_rows(const struct gather *gather, void *items)
{
	unsigned char *row = items;

	for (Py_ssize_t at = 0; at < gather->count; at++) {
		const unsigned char *field = at_field(gather, at);

		if (field != NULL)
			memcpy(row, field, gather->width);
		row += gather->width;
	}
}

static PyObject *
gather_all(struct batch *self, const struct gather *gather)
{
	const char *format = "B";
	Py_ssize_t rows = 0;
	void (*run)(const struct gather *, void *);
	PyObject *view;
	void *items;

	switch (gather->width) {
	case 1:
		run = gather_uint8_t;
		break;
	case 2:
		run = gather_uint16_t;
		format = "H";
		break;
	case 4:
		run = gather_uint32_t;
		format = "I";
		break;
	case 8:
		run = gather_uint64_t;
		format = "Q";
		break;
	default:
		run = gather_rows;
		rows = (Py_ssize_t)gather->width;
	}
	view = column_new(self->state, self->count, rows, format, &items);
	if (view != NULL)
		run(gather, items);
	return view;
}

static PyObject *
find_and_gather(struct batch *self, struct gather *gather)
{
	if (self->slab == NULL && batch_bytes(self) == NULL)
		return NULL;
	gather->memory = self->slab != NULL
				 ? self->slab->memory
				 : (void *)PyBytes_AsString(self->joined);
	gather->offsets = self->columns->offsets;
	gather->lens = self->columns->lens;
	return gather_all(self, gather);
}

PyObject *
batch_field(PyObject *op, PyObject *args)
{
	struct batch *self = (struct batch *)op;
	struct gather gather = {.count = self->count};
	Py_ssize_t offset, width;
	PyObject *view = NULL;

	if (!PyArg_ParseTuple(args, "nn:field", &offset, &width))
		return NULL;
	if (offset < 0 || offset > UINT32_MAX || width < 1 ||
	    width > MAX_WIDTH) {
		PyErr_Format(PyExc_ValueError,
			     "a field is 1 to %d bytes at an offset from 0, "
			     "not %zd at %zd", MAX_WIDTH, width, offset);
		return NULL;
	}
	gather.offset = (size_t)offset;
	gather.width = (size_t)width;
	BEGIN(op);
	if (batch_fill_columns(self) == 0)
		view = find_and_gather(self, &gather);
	END();
	return view;
}

/* read_block() */

PyObject *
batch_read_block(PyObject *module, PyObject *args)
{
	struct module_state *state = PyModule_GetState(module);
	unsigned int snaplen = UINT32_MAX;
	struct names *names = names_new(-1);
	struct slab outside = {.kind = SLAB_RING, .names = names};
	struct batch *batch = NULL;
	struct slab *copy = NULL;
	struct tally tally = {0};
	struct walk walk;
	Py_buffer data;

	if (names == NULL)
		return PyErr_NoMemory();
	if (!PyArg_ParseTuple(args, "y*|I:read_block", &data, &snaplen)) {
		names_drop(names);
		return NULL;
	}
	outside.memory = data.buf;
	outside.used = (size_t)data.len;
	copy = slab_copy(&outside);
	PyBuffer_Release(&data);
	names_drop(names);
	if (copy == NULL)
		return NULL;
	copy->pins++;
	walk_begin(&walk, copy->memory, copy->used, snaplen);
	batch = batch_take(state, copy, &walk, PY_SSIZE_T_MAX, &tally);
	copy->pins--;
	slab_settle(copy);
	return (PyObject *)batch;
}
