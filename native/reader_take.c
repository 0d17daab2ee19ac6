/* SPDX-License-Identifier: MIT */
/*
 * What a reader takes: a packet, from the backlog or from the kernel, a list,
 * or a batch.
 *
 * A system call for each packet costs more than all that is done with it, so
 * packets are read ahead, but only for who has shown that they come faster
 * than they are taken: whoever had to wait gets the one that was asked for.
 */
#include "reader.h"

#include "critical.h"
#include "piece.h"
#include "receiver.h"
#include "ring.h"

/*
 * Takes the first of packets and keeps the others, before what came behind them
 * in one with the last (coalesced.c).
 */
static PyObject *
keep_others(struct reader *self, PyObject *packets)
{
	Py_ssize_t count = PyList_Size(packets);

	for (Py_ssize_t i = count - 1; i > 0; i--) {
		if (backlog_prepend(self->delivery->backlog,
				    PyList_GetItem(packets, i)) < 0)
			return NULL;
	}
	return Py_NewRef(PyList_GetItem(packets, 0));
}

static PyObject *
read_receiver(struct receiver *receiver, Py_ssize_t count)
{
	PyObject *packets;

	BEGIN(receiver);
	packets = receiver_take(receiver, count);
	END();
	return packets;
}

static PyObject *
read_ring(struct ring *ring, Py_ssize_t count)
{
	PyObject *packets;

	BEGIN(ring);
	packets = ring_receive(ring, count);
	END();
	return packets;
}

/* A list of up to so many, also of none; NULL with an exception. */
static PyObject *
receive(struct reader *self, Py_ssize_t count)
{
	PyObject *argument, *packets = NULL;

	if (self->receiver != NULL)
		return read_receiver(self->receiver, count);
	if (self->ring != NULL)
		return read_ring(self->ring, count);
	argument = PyLong_FromSsize_t(count);
	if (argument != NULL)
		packets = PyObject_CallFunctionObjArgs(self->receive, argument,
						       NULL);
	Py_XDECREF(argument);
	if (packets != NULL && !PyList_Check(packets)) {
		PyObject *list = PySequence_List(packets);

		Py_DECREF(packets);
		packets = list;
	}
	return packets;
}

/* NULL: there is none now, or an exception tells. */
PyObject *
reader_take(struct reader *self)
{
	PyObject *packet = backlog_pop(self->delivery->backlog);
	PyObject *packets;

	if (packet != NULL)
		return packet;
	packets = receive(self, self->streak >= READER_STREAK ? self->ahead : 1);
	if (packets == NULL)
		return NULL;
	if (PyList_Size(packets) > 0) {
		packet = keep_others(self, packets);
		self->streak += self->streak < READER_STREAK ? 1 : 0;
	} else {
		self->streak = 0;
	}
	Py_DECREF(packets);
	return packet;
}

static void
count(struct reader *self, Py_ssize_t packets)
{
	/* One was counted when the receive began. */
	self->turns = self->turns > packets - 1
			      ? self->turns - (int)(packets - 1)
			      : 0;
}

/* As reader_take(), up to so many, as a list. */
PyObject *
reader_take_list(struct reader *self, PyObject *wanted)
{
	Py_ssize_t most = PyNumber_AsSsize_t(wanted, PyExc_OverflowError);
	PyObject *packets;

	if (most == -1 && PyErr_Occurred())
		return NULL;
	packets = receive(self, most);
	if (packets != NULL && PyList_Size(packets) == 0)
		Py_CLEAR(packets);
	if (packets != NULL)
		count(self, PyList_Size(packets));
	return packets;
}

static PyObject *
take_block(struct ring *ring, Py_ssize_t count)
{
	PyObject *batch;

	BEGIN(ring);
	batch = ring_take(ring, count);
	END();
	return batch;
}

static PyObject *
take_piece(struct receiver *receiver, Py_ssize_t count)
{
	PyObject *batch;

	BEGIN(receiver);
	batch = piece_take(receiver, count);
	END();
	return batch;
}

/* None where there is none now. */
static PyObject *
take_batch(struct reader *self, PyObject *wanted)
{
	Py_ssize_t most = self->ring != NULL ? PY_SSIZE_T_MAX : SCRATCH_SLOTS;
	PyObject *packets, *batch = NULL;

	if (!Py_IsNone(wanted))
		most = PyNumber_AsSsize_t(wanted, PyExc_OverflowError);
	if (most == -1 && PyErr_Occurred())
		return NULL;
	if (self->ring != NULL)
		return take_block(self->ring, most);
	if (self->receiver != NULL)
		return take_piece(self->receiver, most);
	packets = receive(self, most);
	if (packets != NULL && PyList_Size(packets) == 0)
		batch = Py_NewRef(Py_None);
	else if (packets != NULL)
		batch = PyObject_CallFunctionObjArgs(
			(PyObject *)reader_state(self)->batch_type, packets,
			NULL);
	Py_XDECREF(packets);
	return batch;
}

/* As reader_take(), in one piece. */
PyObject *
reader_take_batch(struct reader *self, PyObject *wanted)
{
	PyObject *batch = take_batch(self, wanted);

	if (batch != NULL && Py_IsNone(batch))
		Py_CLEAR(batch);
	if (batch != NULL)
		count(self, PyObject_Size(batch));
	return batch;
}
