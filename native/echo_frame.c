/* SPDX-License-Identifier: MIT */
/* EchoFrames: the probes of an EchoTable by a packet socket. */
#include "echo_frame.h"

#include "critical.h"

#include <string.h>

static PyObject *
frames_construct(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static char *names[] = {"fd", "version", "frame_size", "frames",
				"ttl", "tos", "df", NULL};
	Py_ssize_t size, count;
	unsigned char ttl = 64, tos = 0;
	int fd, version, df = 1;
	struct echo_frames *self;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "iinn|$bbp:EchoFrames",
					 names, &fd, &version, &size, &count,
					 &ttl, &tos, &df))
		return NULL;
	if ((version != 4 && version != 6) || size < FRAMES_SMALLEST ||
	    count < 1) {
		PyErr_SetString(PyExc_ValueError,
				"version is 4 or 6, and frames have room");
		return NULL;
	}
	self = (struct echo_frames *)PyType_GenericAlloc(type, 0);
	if (self == NULL)
		return NULL;
	self->state = PyType_GetModuleState(type);
	self->fd = fd;
	self->version = (uint8_t)version;
	self->ttl = ttl;
	self->tos = tos;
	self->df = df != 0;
	self->news = PyList_New(0);
	self->ways = PyMem_Calloc(FRAME_WAYS, sizeof(*self->ways));
	if (self->news != NULL && self->ways == NULL)
		PyErr_NoMemory();
	if (self->news != NULL && self->ways != NULL) {
		self->ring = frames_map(fd, (size_t)size, (size_t)count);
		if (self->ring == NULL)
			PyErr_SetFromErrno(PyExc_OSError);
	}
	if (self->ring == NULL)
		Py_CLEAR(self);
	return (PyObject *)self;
}

static PyObject *
frames_close(PyObject *op, PyObject *Py_UNUSED(ignored))
{
	struct echo_frames *self = (struct echo_frames *)op;

	frames_unmap(self->ring);
	self->ring = NULL;
	self->fd = -1;
	Py_RETURN_NONE;
}

static void
frames_dealloc(PyObject *op)
{
	struct echo_frames *self = (struct echo_frames *)op;
	PyTypeObject *type = Py_TYPE(op);

	frames_unmap(self->ring);
	PyMem_Free(self->ways);
	PyMem_Free(self->frames);
	Py_XDECREF(self->news);
	PyObject_Free(self);
	Py_DECREF(type);
}

static char frames_doc[] =
"EchoFrames(fd, version, frame_size, frames, *, ttl=64, tos=0, df=True)\n"
"--\n"
"\n"
"Probes by a packet socket with a ring of frames (TPACKET_V2), not owned.\n"
"\n"
"Args:\n"
"    fd: The socket.\n"
"    version: Of IP.\n"
"    frame_size: Of the ring, in bytes.\n"
"    frames: How many it has.\n"
"    ttl: Time to live (hop limit) of the probes.\n"
"    tos: Type of service (traffic class).\n"
"    df: Routers must not fragment probes of IPv4.";

DEFINE_ALONE(echo_way_set)
DEFINE_ALONE(echo_way_forget)
DEFINE_ALONE_WITH(echo_frames_send)
DEFINE_ALONE_WITH(echo_frames_begin)
DEFINE_ALONE_WITH(echo_frames_release)
DEFINE_ALONE_WITH(echo_frames_fail)
DEFINE_ALONE_WITH(echo_frames_receive)
DEFINE_ALONE(echo_frames_take_news)
DEFINE_ALONE(frames_close)

static PyMethodDef frames_methods[] = {
	{"set_way", ALONE(echo_way_set), METH_VARARGS, echo_way_set_doc},
	{"forget_ways", ALONE(echo_way_forget), METH_NOARGS,
	 "forget_ways($self, /)\n--\n\nNo way is known any more."},
	{"send", ALONE(echo_frames_send), METH_VARARGS, echo_frames_send_doc},
	{"begin", ALONE(echo_frames_begin), METH_VARARGS, echo_frames_begin_doc},
	{"release", ALONE(echo_frames_release), METH_VARARGS,
	 echo_frames_release_doc},
	{"fail", ALONE(echo_frames_fail), METH_VARARGS,
	 "fail($self, table, serial, error, /)\n--\n\n"
	 "A probe that was begun has its end by an error."},
	{"receive", ALONE(echo_frames_receive), METH_O, echo_frames_receive_doc},
	{"take_news", ALONE(echo_frames_take_news), METH_NOARGS,
	 "take_news($self, /)\n--\n\n"
	 "Frames of ARP, and neighbour advertisements, that receive() came\n"
	 "across, each behind the index of its interface."},
	{"close", ALONE(frames_close), METH_NOARGS,
	 "close($self, /)\n--\n\nGive the ring back; the socket stays open."},
	{NULL, NULL, 0, NULL},
};

static PyType_Slot frames_slots[] = {
	{Py_tp_doc, frames_doc},
	{Py_tp_new, frames_construct},
	{Py_tp_dealloc, frames_dealloc},
	{Py_tp_methods, frames_methods},
	{0, NULL},
};

PyType_Spec echo_frames_spec = {
	.name = "aioprocket._system._native.EchoFrames",
	.basicsize = sizeof(struct echo_frames),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = frames_slots,
};
