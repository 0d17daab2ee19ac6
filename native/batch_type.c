/* SPDX-License-Identifier: MIT */
/*
 * Batch: a sequence of packets that makes them when they are asked for.
 */
#include "batch_type.h"

#include "batch_access.h"
#include "critical.h"
#include "packet.h"

/*
 * Headers are fetched so many packets ahead: a packet takes a tenth of the time
 * that memory does.
 */
enum { AHEAD = 16 };

static struct batch *
new_batch(struct module_state *state)
{
	struct batch *self = PyObject_New(struct batch, state->batch_type);

	if (self == NULL)
		return NULL;
	self->state = state;
	self->slab = NULL;
	self->next = NULL;
	self->link = NULL;
	self->columns = NULL;
	self->packets = NULL;
	self->joined = NULL;
	self->count = 0;
	self->exports = 0;
	self->serial = 0;
	return self;
}

static void
enter(struct batch *self, struct slab *slab)
{
	self->slab = slab;
	slab->pins++;
	self->next = slab->batches;
	self->link = &slab->batches;
	if (self->next != NULL)
		self->next->link = &self->next;
	slab->batches = self;
}

static void
leave(struct batch *self)
{
	struct slab *slab = self->slab;

	*self->link = self->next;
	if (self->next != NULL)
		self->next->link = self->link;
	self->slab = NULL;
	slab->pins--;
	slab_settle(slab);
}

/* From a slab to a copy of it; columns count from the beginning of both. */
void
batch_move(struct batch *self, struct slab *slab)
{
	leave(self);
	enter(self, slab);
}

/* To the heap, where nobody needs it back: 0, or -1 with an exception. */
int
batch_copy_out(struct batch *self)
{
	struct slab *copy;

	if (batch_name(self) < 0)
		return -1;
	copy = slab_copy(self->slab);
	if (copy == NULL)
		return -1;
	batch_move(self, copy);
	return 0;
}

/* Where the headers are, if that is not the same way before all bytes. */
static void
fill_headers(struct columns *columns, struct walk walk, Py_ssize_t count)
{
	struct frame frame;

	for (Py_ssize_t at = 0; at < count && walk_next(&walk, &frame); at++)
		columns->headers[at] = (uint32_t)(
			(const unsigned char *)frame.header - walk.memory);
}

/*
 * One pass over up to count packets, for it waits for memory, and keeps no more
 * of them than it must: how many there were.  Copies of both structures,
 * because as far as the compiler knows a column could be a part of them.
 */
static Py_ssize_t
fill(struct columns *into, struct walk *from, Py_ssize_t count)
{
	const struct columns columns = *into;
	struct walk walk = *from;
	struct frame frame;
	struct stride stride = {0};
	uint32_t cut = 0, uneven = 0, status = 0;
	Py_ssize_t at = 0;

	for (; at < count && walk_next(&walk, &frame); at++) {
		const struct tpacket3_hdr *header = frame.header;

		if (stride_holds(&stride, &frame, AHEAD)) {
			walk_fetch(&walk, &frame, AHEAD, 0);
			walk_fetch(&walk, &frame, AHEAD, FRAME_READ);
		} else {
			walk_fetch_all(&walk, &frame);
		}
		columns.timestamps_ns[at] = frame_timestamp(header);
		columns.lens[at] = frame.length;
		columns.offsets[at] = (uint32_t)(frame.bytes - walk.memory);
		cut |= header->tp_len ^ frame.length;
		status |= header->tp_status;
		if (at == 0)
			into->before = header->tp_mac;
		uneven |= header->tp_mac ^ into->before;
	}
	into->cut = cut != 0;
	into->tagged = (status & TP_STATUS_VLAN_VALID) != 0;
	if (uneven != 0) {
		fill_headers(into, *from, at);
		into->before = 0;
	}
	*from = walk;
	return at;
}

static void
count(const struct batch *self, struct tally *tally)
{
	const struct columns *columns = self->columns;
	uint64_t bytes = 0;

	for (Py_ssize_t at = 0; at < self->count; at++)
		bytes += columns->lens[at];
	tally->bytes += bytes;
	for (Py_ssize_t at = 0; columns->cut && at < self->count; at++)
		tally->truncated +=
			batch_header(self, at)->tp_len > columns->lens[at];
}

/* What tells its packets from those of all other batches. */
static void
number(struct batch *self)
{
	self->serial = 1 + atomic_fetch_add_explicit(&self->state->serial,
						     (uint64_t)self->count,
						     memory_order_relaxed);
}

/*
 * Up to wanted packets that a walk finds next, fewer at its end: a batch,
 * also of none, or NULL with an exception and nothing taken.
 */
struct batch *
batch_take(struct module_state *state, struct slab *slab, struct walk *walk,
	   Py_ssize_t wanted, struct tally *tally)
{
	struct batch *self = new_batch(state);
	/* More do not fit in, whatever the block says. */
	Py_ssize_t most = (Py_ssize_t)(walk->size / FRAME_HEADER);

	if (self == NULL)
		return NULL;
	if (most > (Py_ssize_t)walk->left)
		most = (Py_ssize_t)walk->left;
	if (most > wanted)
		most = wanted;
	self->columns = columns_new(state, most);
	if (self->columns == NULL) {
		Py_DECREF(self);
		return NULL;
	}
	self->count = fill(self->columns, walk, most);
	number(self);
	enter(self, slab);
	count(self, tally);
	return self;
}

/*
 * So many packets that lie in a slab of nobody else's, at places that columns
 * say: takes both over, or only the slab if it returns NULL with an exception.
 */
struct batch *
batch_place(struct module_state *state, struct slab *slab,
	    struct columns *columns, Py_ssize_t count)
{
	struct batch *self = new_batch(state);

	if (self == NULL) {
		slab_settle(slab);
		return NULL;
	}
	self->columns = columns;
	self->count = count;
	number(self);
	enter(self, slab);
	return self;
}

/* Look interfaces' names up while that can be done: 0, or -1 with an exception. */
int
batch_name(struct batch *self)
{
	int known = 0;

	for (Py_ssize_t at = 0; at < self->count; at++) {
		int ifindex = frame_sender(batch_header(self, at))->sll_ifindex;
		PyObject *ifname;

		if (ifindex == known)
			continue;
		ifname = slab_ifname(self->slab, ifindex);
		if (ifname == NULL)
			return -1;
		Py_DECREF(ifname);
		known = ifindex;
	}
	return 0;
}

static PyObject *
batch_construct(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *names[] = {"packets", NULL};
	struct module_state *state = PyType_GetModuleState(type);
	struct batch *self;
	PyObject *packets;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O:Batch", names,
					 &packets))
		return NULL;
	packets = PySequence_List(packets);
	if (packets == NULL)
		return NULL;
	for (Py_ssize_t at = 0; at < PyList_Size(packets); at++) {
		PyObject *packet = PyList_GetItem(packets, at);

		if (Py_TYPE(packet) != state->packet_type) {
			PyErr_Format(PyExc_TypeError,
				     "a batch is of packets, not of %R", packet);
			Py_DECREF(packets);
			return NULL;
		}
	}
	self = new_batch(state);
	if (self == NULL) {
		Py_DECREF(packets);
		return NULL;
	}
	self->packets = packets;
	self->count = PyList_Size(packets);
	return (PyObject *)self;
}

static void
batch_dealloc(PyObject *op)
{
	struct batch *self = (struct batch *)op;
	PyTypeObject *type = Py_TYPE(op);

	if (self->columns != NULL)
		columns_drop(self->columns);
	if (self->slab != NULL)
		leave(self);
	Py_XDECREF(self->packets);
	Py_XDECREF(self->joined);
	PyObject_Free(self);
	Py_DECREF(type);
}

static PyObject *
batch_repr(PyObject *op)
{
	return PyUnicode_FromFormat("<Batch of %zd packets>",
				    ((struct batch *)op)->count);
}

static int
show(struct batch *self, Py_buffer *view, int flags)
{
	PyObject *joined, *op = (PyObject *)self;

	if (self->slab != NULL) {
		if (PyBuffer_FillInfo(view, op, self->slab->memory,
				      (Py_ssize_t)self->slab->used, 1,
				      flags) < 0)
			return -1;
		view->internal = self->slab;
		self->exports++;
		return 0;
	}
	joined = batch_bytes(self);
	if (joined == NULL)
		return -1;
	return PyBuffer_FillInfo(view, op, PyBytes_AsString(joined),
				 PyBytes_Size(joined), 1, flags);
}

/* A batch is a buffer itself, but only `buffer` says what of. */
static int
batch_getbuffer(PyObject *op, Py_buffer *view, int flags)
{
	int failed;

	BEGIN(op);
	failed = show((struct batch *)op, view, flags);
	END();
	return failed;
}

static void
batch_releasebuffer(PyObject *op, Py_buffer *view)
{
	BEGIN(op);
	if (view->internal != NULL)
		((struct batch *)op)->exports--;
	END();
}

static char batch_doc[] =
"Batch(packets)\n"
"--\n"
"\n"
"Packets that came together, in order: a sequence, and columns.\n"
"\n"
"A packet is made when it is asked for, and not kept. A column is a buffer of\n"
"one number for each packet, which needs no packet; it stays as it is for ever,\n"
"and so does the batch. A batch of a ring is memory that the kernel wants back:\n"
"as long as it is kept it is held there, or copied out when the ring needs it.\n"
"\n"
"Args:\n"
"    packets: `Packet` objects, for a batch that comes from no ring.";

static PyGetSetDef batch_getset[] = {
	{"timestamps_ns", batch_get_timestamps_ns, NULL,
	 "Format ``q``: when the kernel took each in, as `Packet.timestamp_ns`.",
	 NULL},
	{"wire_lens", batch_get_wire_lens, NULL,
	 "Format ``I``: the length of each before it was cut.", NULL},
	{"lens", batch_get_lens, NULL,
	 "Format ``I``: how many bytes of each are in `buffer`.", NULL},
	{"offsets", batch_get_offsets, NULL,
	 "Format ``I``: where in `buffer` they begin.", NULL},
	{"vlan_tcis", batch_get_vlan_tcis, NULL,
	 "Format ``i``: the tag that the kernel took out of each, or -1.", NULL},
	{"buffer", batch_get_buffer, NULL,
	 "The memory that all of them lie in, as a memoryview of bytes. In a "
	 "ring it has the kernel's headers, too. While it is held, so is the "
	 "block of the ring.", NULL},
	{NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef batch_methods[] = {
	{"field", batch_field, METH_VARARGS, batch_field_doc},
	{"index", batch_index, METH_VARARGS, batch_index_doc},
	{"count", batch_count, METH_O, batch_count_doc},
	{"__buffer__", batch_buffer, METH_O,
	 "__buffer__($self, flags, /)\n--\n\nAs buffer."},
	{NULL, NULL, 0, NULL},
};

static PyType_Slot batch_slots[] = {
	{Py_tp_doc, batch_doc},
	{Py_tp_new, batch_construct},
	{Py_tp_dealloc, batch_dealloc},
	{Py_tp_repr, batch_repr},
	{Py_tp_iter, batch_iter},
	{Py_tp_getset, batch_getset},
	{Py_tp_methods, batch_methods},
	{Py_sq_length, batch_length},
	{Py_sq_item, batch_item},
	{Py_sq_contains, batch_contains},
	{Py_mp_length, batch_length},
	{Py_mp_subscript, batch_subscript},
	{Py_bf_getbuffer, batch_getbuffer},
	{Py_bf_releasebuffer, batch_releasebuffer},
	{0, NULL},
};

PyType_Spec batch_spec = {
	.name = "aioprocket.packet.Batch",
	.basicsize = sizeof(struct batch),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = batch_slots,
};
