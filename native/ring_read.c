/* SPDX-License-Identifier: MIT */
/*
 * Reading a ring: one at a time, by batches, or by calling somebody.
 */
#include "ring.h"

#include "batch_type.h"
#include "packet.h"

#include <time.h>

/* Up to so many packets between two looks at the clock. */
enum { MOST_UNTIMED = 64 };
static const double SHORT_WHILE = 50e-6;

/*
 * In the stable ABI since Python 3.12, and exported by 3.11, whose limited
 * API does not declare it.
 */
#if defined(Py_LIMITED_API) && Py_LIMITED_API + 0 < 0x030c0000
PyAPI_FUNC(PyObject *) PyObject_Vectorcall(PyObject *callable,
					   PyObject *const *args, size_t nargsf,
					   PyObject *kwnames);
#define PY_VECTORCALL_ARGUMENTS_OFFSET ((size_t)1 << (8 * sizeof(size_t) - 1))
#endif

/* A list that never goes beyond a block, for that would end the block. */
PyObject *
ring_receive(struct ring *ring, Py_ssize_t count)
{
	int found = ring_open_block(ring);
	PyObject *packets;
	struct frame frame;

	if (found < 0)
		return NULL;
	packets = PyList_New(0);
	if (packets == NULL || found == 0)
		return packets;
	while (count-- > 0 && ring_next_frame(ring, &frame)) {
		PyObject *packet = (PyObject *)packet_place(
			ring->state->packet_type, ring->current, &frame, 0);

		if (packet == NULL || PyList_Append(packets, packet) < 0) {
			Py_XDECREF(packet);
			Py_DECREF(packets);
			return NULL;
		}
		Py_DECREF(packet);
	}
	return packets;
}

static void
count_batch(struct ring *ring, const struct batch *batch)
{
	const struct columns *columns = batch->columns;
	uint64_t bytes = 0, truncated = 0;

	for (Py_ssize_t at = 0; at < batch->count; at++) {
		bytes += columns->lens[at];
		truncated += columns->wire_lens[at] > columns->lens[at];
	}
	ring->packets += (uint64_t)batch->count;
	ring->bytes += bytes;
	ring->truncated += truncated;
}

/* What is left of a block, or count of that: a Batch, or None for nothing. */
PyObject *
ring_take(struct ring *ring, Py_ssize_t count)
{
	struct batch *batch;

	for (;;) {
		int found = ring_open_block(ring);

		if (found < 0)
			return NULL;
		if (found == 0)
			Py_RETURN_NONE;
		batch = batch_take(ring->state, ring->current, &ring->walk,
				   count);
		if (batch == NULL)
			return NULL;
		count_batch(ring, batch);
		if (batch->count < count && ring->walk.left > 0) {
			ring->damaged += ring->walk.left;
			ring->walk.left = 0;
		}
		if (ring->walk.left == 0)
			ring_leave_block(ring);
		if (batch->count > 0)
			break;
		Py_DECREF(batch);
	}
#ifdef Py_GIL_DISABLED
	/* Nothing in the ring may be seen beside it. */
	if (batch_copy_out(batch) < 0)
		Py_CLEAR(batch);
#endif
	return (PyObject *)batch;
}

static double
now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* The clock costs as much as half a packet: asked seldom, if calls are quick. */
struct timer {
	double ends;
	double last;
	int stride;
	int left;
};

static bool
is_over(struct timer *timer)
{
	double time;

	if (--timer->left > 0)
		return false;
	time = now();
	if (time - timer->last > SHORT_WHILE)
		timer->stride = 1;
	else if (timer->stride < MOST_UNTIMED)
		timer->stride *= 2;
	timer->last = time;
	timer->left = timer->stride;
	return time >= timer->ends;
}

static PyObject *
call(PyObject *callback, struct packet *packet, bool unpack)
{
	/* The first is the callee's to use: a bound method's self goes there. */
	PyObject *arguments[3] = {NULL, (PyObject *)packet, NULL};
	PyObject *result = NULL;

	if (!unpack)
		return PyObject_Vectorcall(callback, arguments + 1,
					   1 | PY_VECTORCALL_ARGUMENTS_OFFSET,
					   NULL);
	arguments[1] = packet_data(packet);
	arguments[2] = packet_addr(packet);
	if (arguments[1] != NULL && arguments[2] != NULL)
		result = PyObject_Vectorcall(callback, arguments + 1,
					     2 | PY_VECTORCALL_ARGUMENTS_OFFSET,
					     NULL);
	Py_XDECREF(arguments[1]);
	Py_XDECREF(arguments[2]);
	return result;
}

/* Of ring->current, until it ends or somebody stops: 0, or -1. */
static int
dispatch_block(struct ring *ring, PyObject *callback, bool unpack,
	       struct timer *timer, Py_ssize_t *count)
{
	PyTypeObject *type = ring->state->packet_type;
	struct slab *slab = ring->current;
	struct packet *packet = NULL;
	PyObject *result = Py_NewRef(Py_None);
	struct frame frame;

	while (ring->current == slab && !ring->stopped &&
	       ring_next_frame(ring, &frame)) {
		if (packet != NULL && packet_is_ours(packet, slab)) {
			packet_replace(packet, &frame, 0);
		} else {
			Py_XDECREF((PyObject *)packet);
			packet = packet_place(type, slab, &frame, 0);
		}
		Py_DECREF(result);
		++*count;
		result = packet != NULL ? call(callback, packet, unpack) : NULL;
		if (result == NULL || is_over(timer)) {
			ring->stopped = true;
			break;
		}
	}
	/* Before the block is left: nobody has it, so it is not copied out. */
	Py_XDECREF((PyObject *)packet);
	Py_XDECREF(result);
	return result != NULL ? 0 : -1;
}

/*
 * Call back with one packet after the other, until there is none, the time
 * is over, or somebody has stopped it: how many, or -1 with the callback's
 * exception, whose packet counts as delivered.
 */
Py_ssize_t
ring_dispatch(struct ring *ring, PyObject *callback, bool unpack,
	      double seconds)
{
	struct timer timer = {.last = now(), .stride = 1, .left = 1};
	Py_ssize_t count = 0;
	int found;

	timer.ends = timer.last + seconds;
	ring->stopped = false;
	while (!ring->stopped && (found = ring_open_block(ring)) != 0) {
		if (found < 0)
			return -1;
		if (dispatch_block(ring, callback, unpack, &timer, &count) < 0)
			return -1;
	}
	return count;
}
