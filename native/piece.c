/* SPDX-License-Identifier: MIT */
/*
 * Packets in one piece.
 *
 * Those of a device are read one behind the other into one memory, each behind
 * a header as a ring of the kernel's has it: nobody makes objects of them, and
 * who sends the batch on needs none.
 */
#include "piece.h"

#include "arena.h"
#include "batch_type.h"
#include "fill.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	/* A batch up to this size is not worth an arena to whoever keeps it. */
	SMALL = 4096,
	/* More do not fit in, whatever they are. */
	MOST = BATCH_BYTES / FRAME_HEADER + 1,
};

struct piece {
	struct receiver *receiver;
	unsigned char *memory;
	size_t used;
	struct columns *columns;
	Py_ssize_t count;
	unsigned long long bytes;
};

/* Zeros are what a ring would say of a packet without a sender, time or tag. */
static void
put_header(unsigned char *at, size_t room, uint32_t length)
{
	struct tpacket3_hdr *header = (void *)(at + room - FRAME_HEADER);

	memset(at, 0, room);
	header->tp_snaplen = length;
	header->tp_len = length;
	header->tp_mac = FRAME_HEADER;
}

/* False: there is none, and the receiver's failure says why. */
static bool
read_one(struct piece *piece)
{
	struct receiver *receiver = piece->receiver;
	size_t padding = (ARENA_ALIGNMENT - piece->used % ARENA_ALIGNMENT) %
			 ARENA_ALIGNMENT;
	size_t room = padding + FRAME_HEADER;
	size_t offset = piece->used + room;
	ssize_t length = read(receiver->fd, piece->memory + offset,
			      receiver->size);

	if (length <= 0) {
		receiver->failure = length < 0 ? errno : END_OF_FILE;
		return false;
	}
	put_header(piece->memory + piece->used, room, (uint32_t)length);
	piece->columns->timestamps_ns[piece->count] = 0;
	piece->columns->lens[piece->count] = (uint32_t)length;
	piece->columns->offsets[piece->count] = (uint32_t)offset;
	piece->count++;
	piece->used = offset + (size_t)length;
	piece->bytes += (unsigned long long)length;
	return true;
}

/* 0, also of none, or -1 with an exception. */
static int
read_all(struct piece *piece, Py_ssize_t wanted)
{
	struct receiver *receiver = piece->receiver;

	if (receiver->failure != NO_FAILURE)
		return fill_settle(receiver) < 0 ? -1 : 0;
	while (piece->count < wanted && piece->used < BATCH_BYTES) {
		if (read_one(piece))
			continue;
		if (piece->count > 0)
			break;
		if (fill_settle(receiver) <= 0)
			return PyErr_Occurred() != NULL ? -1 : 0;
	}
	/* Not lost: what these two stand for is met again by the next call. */
	if (receiver->failure == EAGAIN || receiver->failure == EINTR)
		receiver->failure = NO_FAILURE;
	return 0;
}

/* Has the memory of the piece then, or a copy of it; NULL with an exception. */
static struct slab *
slab_of(struct piece *piece)
{
	struct arena_pool *arenas = &piece->receiver->state->arenas;
	bool small = piece->used <= SMALL;
	unsigned char *memory = small ? malloc(piece->used) : piece->memory;
	struct slab *slab = NULL;

	if (memory != NULL)
		slab = slab_new(small ? SLAB_HEAP : SLAB_ARENA, memory,
				piece->used, NULL);
	if (slab == NULL) {
		if (small)
			free(memory);
		PyErr_NoMemory();
		return NULL;
	}
	if (small) {
		memcpy(memory, piece->memory, piece->used);
	} else {
		slab->arenas = arenas;
		piece->memory = NULL;
	}
	return slab;
}

static PyObject *
batch_of(struct piece *piece)
{
	struct slab *slab = slab_of(piece);
	PyObject *batch;

	if (slab == NULL)
		return NULL;
	piece->columns->before = FRAME_HEADER;
	piece->columns->cut = piece->columns->tagged = false;
	batch = (PyObject *)batch_place(piece->receiver->state, slab,
					piece->columns, piece->count);
	if (batch != NULL)
		piece->columns = NULL;
	return batch;
}

static PyObject *
take_in_place(struct receiver *self, Py_ssize_t count)
{
	struct module_state *state = self->state;
	struct piece piece = {.receiver = self};
	PyObject *batch = NULL;

	if (count > MOST)
		count = MOST;
	piece.columns = columns_new(state, count);
	if (piece.columns == NULL)
		return NULL;
	piece.memory = arena_take(&state->arenas);
	if (piece.memory == NULL)
		PyErr_NoMemory();
	else if (read_all(&piece, count) == 0)
		batch = piece.count > 0 ? batch_of(&piece) : Py_NewRef(Py_None);
	if (batch != NULL) {
		self->packets += (unsigned long long)piece.count;
		self->bytes += piece.bytes;
	}
	if (piece.memory != NULL)
		arena_give(&state->arenas, piece.memory);
	if (piece.columns != NULL)
		columns_drop(piece.columns);
	return batch;
}

static PyObject *
take_list(struct receiver *self, Py_ssize_t count)
{
	PyObject *packets = receiver_take(self, count), *batch;

	if (packets == NULL)
		return NULL;
	if (PyList_Size(packets) == 0)
		batch = Py_NewRef(Py_None);
	else
		batch = PyObject_CallFunctionObjArgs(
			(PyObject *)self->state->batch_type, packets, NULL);
	Py_DECREF(packets);
	return batch;
}

/* Up to count packets as a Batch, or None for none; NULL with an exception. */
PyObject *
piece_take(struct receiver *self, Py_ssize_t count)
{
	/* What a header says of a packet has no place in one piece. */
	if (self->is_socket || self->header > 0)
		return take_list(self, count);
	return take_in_place(self, count);
}
