/* SPDX-License-Identifier: MIT */
/*
 * Gatherer: packets that wait for each other, to be sent by one system call.
 *
 * Only what a Sender will take is gathered: bytes, which cannot change
 * meanwhile, to a plain address or to none.
 */
#include "gatherer.h"

#include "critical.h"
#include "sender.h"

#include <stddef.h>
#include <string.h>
#include <structmember.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum { GATHERED = 64 };

/* 1: it was taken, 0: it was not, -1 with an exception. */
static int
gather(struct gatherer *self, PyObject *data, PyObject *addr)
{
	struct sender *sender = self->sender;
	struct gathered *item;

	if (!self->open || self->count >= GATHERED || !PyBytes_CheckExact(data))
		return 0;
	if (self->items == NULL)
		self->items = PyMem_Malloc(GATHERED * sizeof(*self->items));
	if (self->items == NULL) {
		PyErr_NoMemory();
		return -1;
	}
	item = &self->items[self->count];
	item->length = 0;
	if (!Py_IsNone(addr)) {
		item->length = destination_find(&sender->known, sender->family,
						addr, &item->name);
		if (item->length == 0)
			return 0;
	}
	item->data = Py_NewRef(data);
	item->addr = Py_NewRef(addr);
	self->count++;
	return 1;
}

static void
release(struct gathered *items, int count)
{
	for (int i = 0; i < count; i++) {
		Py_DECREF(items[i].data);
		Py_DECREF(items[i].addr);
	}
}

static int
transmit(struct sender *sender, struct gathered *items, int count)
{
	struct mmsghdr messages[GATHERED];
	struct iovec vectors[GATHERED];

	for (int i = 0; i < count; i++) {
		vectors[i].iov_base = PyBytes_AsString(items[i].data);
		vectors[i].iov_len = (size_t)PyBytes_Size(items[i].data);
		messages[i].msg_hdr = (struct msghdr){
			.msg_name = items[i].length > 0 ? &items[i].name : NULL,
			.msg_namelen = items[i].length,
			.msg_iov = &vectors[i],
			.msg_iovlen = 1,
		};
	}
	return sender_transmit(sender, messages, count);
}

static void
flush(struct gatherer *self)
{
	struct gathered items[GATHERED];
	int count = self->count, sent;

	if (!self->direct || count == 0 || !self->sender->is_socket ||
	    self->failure != 0)
		return;
	sent = transmit(self->sender, self->items, count);
	self->failure = self->sender->failure;
	/* What is let go of here could call back, and gather. */
	memcpy(items, self->items, (size_t)sent * sizeof(items[0]));
	self->count = count - sent;
	memmove(self->items, self->items + sent,
		(size_t)self->count * sizeof(items[0]));
	release(items, sent);
}

/*
 * Sends what was gathered.  Whatever the kernel does not take stays, and is the
 * writer's: it knows what an error means, and whose it is.
 */
void
gatherer_flush(struct gatherer *self)
{
	BEGIN_BOTH((PyObject *)self, (PyObject *)self->sender);
	flush(self);
	END_BOTH();
}

/* As gather(), which makes room first. */
static int
make_room_and_gather(struct gatherer *self, PyObject *data, PyObject *addr)
{
	int gathered;

	BEGIN_BOTH((PyObject *)self, (PyObject *)self->sender);
	if (self->count >= GATHERED)
		flush(self);
	gathered = gather(self, data, addr);
	END_BOTH();
	return gathered;
}

static int
read_names(PyObject *const *args, Py_ssize_t count, PyObject *names,
	   PyObject **data, PyObject **addr)
{
	Py_ssize_t named = names == NULL ? 0 : PyTuple_Size(names);

	for (Py_ssize_t i = 0; i < named; i++) {
		PyObject *name = PyTuple_GetItem(names, i);

		if (PyUnicode_CompareWithASCIIString(name, "data") == 0 &&
		    *data == NULL)
			*data = args[count + i];
		else if (PyUnicode_CompareWithASCIIString(name, "addr") == 0 &&
			 *addr == NULL)
			*addr = args[count + i];
		else
			return -1;
	}
	return *data == NULL ? -1 : 0;
}

static PyObject *
gatherer_sendto(PyObject *op, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
	struct gatherer *self = (struct gatherer *)op;
	PyObject *data = count > 0 ? args[0] : NULL;
	PyObject *addr = count > 1 ? args[1] : NULL;
	int gathered;

	if (count > 2 || read_names(args, count, names, &data, &addr) < 0) {
		PyErr_SetString(PyExc_TypeError, "sendto(data, addr=None)");
		return NULL;
	}
	if (addr == NULL)
		addr = Py_None;
	gathered = make_room_and_gather(self, data, addr);
	if (gathered < 0)
		return NULL;
	if (gathered > 0)
		Py_RETURN_NONE;
	if (self->otherwise == NULL)	/* the garbage collector was here */
		Py_RETURN_NONE;
	return PyObject_CallFunctionObjArgs(self->otherwise, data, addr, NULL);
}

static PyObject *
try_gather(PyObject *op, PyObject *const *args, Py_ssize_t count)
{
	int gathered;

	if (count != 2) {
		PyErr_SetString(PyExc_TypeError, "gather takes data and address");
		return NULL;
	}
	gathered = make_room_and_gather((struct gatherer *)op, args[0],
					args[1]);
	return gathered < 0 ? NULL : PyBool_FromLong(gathered);
}

static PyObject *
take_all(struct gatherer *self)
{
	PyObject *pairs = PyTuple_New(self->count);

	for (int i = 0; pairs != NULL && i < self->count; i++) {
		const struct gathered *item = &self->items[i];
		PyObject *pair = PyTuple_Pack(2, item->data, item->addr);

		if (pair == NULL)
			Py_CLEAR(pairs);
		else
			PyTuple_SetItem(pairs, i, pair);
	}
	if (pairs == NULL)
		return NULL;
	/* The pairs hold all of them: nothing is let go of. */
	release(self->items, self->count);
	self->count = 0;
	pairs = Py_BuildValue("(Ni)", pairs, self->failure);
	self->failure = 0;
	return pairs;
}

static PyObject *
take(PyObject *op, PyObject *unused)
{
	PyObject *taken;

	(void)unused;
	BEGIN(op);
	taken = take_all((struct gatherer *)op);
	END();
	return taken;
}

static PyObject *
gatherer_construct(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *names[] = {"sender", "otherwise", NULL};
	struct module_state *state = PyType_GetModuleState(type);
	struct gatherer *self;
	PyObject *sender, *otherwise;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!O:Gatherer", names,
					 state->sender_type, &sender,
					 &otherwise))
		return NULL;
	self = (struct gatherer *)PyType_GenericAlloc(type, 0);
	if (self == NULL)
		return NULL;
	self->sender = (struct sender *)Py_NewRef(sender);
	self->otherwise = Py_NewRef(otherwise);
	return (PyObject *)self;
}

static int
gatherer_traverse(PyObject *op, visitproc visit, void *arg)
{
	struct gatherer *self = (struct gatherer *)op;

	Py_VISIT(Py_TYPE(op));
	Py_VISIT(self->otherwise);
	for (int i = 0; i < self->count; i++)
		Py_VISIT(self->items[i].addr);
	return 0;
}

static int
gatherer_clear(PyObject *op)
{
	struct gatherer *self = (struct gatherer *)op;

	self->open = 0;
	Py_CLEAR(self->otherwise);
	return 0;
}

static void
gatherer_dealloc(PyObject *op)
{
	struct gatherer *self = (struct gatherer *)op;
	PyTypeObject *type = Py_TYPE(op);

	PyObject_GC_UnTrack(op);
	Py_XDECREF((PyObject *)self->sender);
	Py_XDECREF(self->otherwise);
	release(self->items, self->count);
	PyMem_Free(self->items);
	PyObject_GC_Del(op);
	Py_DECREF(type);
}

static Py_ssize_t
gatherer_length(PyObject *op)
{
	return ((struct gatherer *)op)->count;
}

static char gatherer_doc[] =
"Gatherer(sender, otherwise)\n"
"--\n"
"\n"
"Packets that are to be sent together by a Sender, 64 at most.\n"
"\n"
"Args:\n"
"    otherwise: Called with data and address of what is not gathered.";

static PyMemberDef gatherer_members[] = {
	{"open", T_BOOL, offsetof(struct gatherer, open), 0,
	 "Whether packets are taken."},
	{"direct", T_BOOL, offsetof(struct gatherer, direct), 0,
	 "Whether nothing waits that has to be sent before them: then a wakeup "
	 "sends them itself, as far as the kernel takes them."},
	{NULL, 0, 0, 0, NULL},
};

static PyMethodDef gatherer_methods[] = {
	{"sendto", (PyCFunction)(void (*)(void))gatherer_sendto,
	 METH_FASTCALL | METH_KEYWORDS,
	 "sendto($self, /, data, addr=None)\n--\n\n"
	 "Gather a packet, or have it sent otherwise."},
	{"gather", (PyCFunction)(void (*)(void))try_gather, METH_FASTCALL,
	 "gather($self, data, addr, /)\n--\n\n"
	 "Return whether the packet was taken: room is left, it is bytes, and "
	 "the address is None or a plain tuple of an inet socket."},
	{"take", take, METH_NOARGS,
	 "take($self, /)\n--\n\nGive away what was gathered: data and address "
	 "of each, and the errno with which the first was just refused, or 0."},
	{NULL, NULL, 0, NULL},
};

static PyType_Slot gatherer_slots[] = {
	{Py_tp_doc, gatherer_doc},
	{Py_tp_new, gatherer_construct},
	{Py_tp_dealloc, gatherer_dealloc},
	{Py_tp_traverse, gatherer_traverse},
	{Py_tp_clear, gatherer_clear},
	{Py_tp_members, gatherer_members},
	{Py_tp_methods, gatherer_methods},
	{Py_sq_length, gatherer_length},
	{0, NULL},
};

PyType_Spec gatherer_spec = {
	.name = "aioprocket._system._native.Gatherer",
	.basicsize = sizeof(struct gatherer),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
	.slots = gatherer_slots,
};
