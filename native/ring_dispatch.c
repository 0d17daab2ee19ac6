/* SPDX-License-Identifier: MIT */
/*
 * Ring.dispatch(): packets to a callback, each the same object as the one
 * before if nobody has kept it.
 */
#include "ring.h"

#include "clock.h"
#include "delivery.h"
#include "packet.h"

/*
 * Packets ahead: a callback takes longer than memory. And how many have to be as
 * far apart as the last two before that is believed of the next.
 */
enum { FETCH = 1, BELIEVED = 8 };

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

struct turn {
	struct ring *ring;
	struct delivery *delivery;
	PyObject *callback;
	bool datagrams;
	bool called;
	struct turn_clock clock;
};

static bool
may_go_on(struct turn *turn)
{
	return !turn->delivery->interrupted && turn->delivery->credit != 0 &&
	       !clock_is_over(&turn->clock);
}

static PyObject *
call_with_datagram(PyObject *callback, struct packet *packet)
{
	/* The first is the callee's to use: a bound method's self goes there. */
	PyObject *arguments[3] = {NULL, packet_data(packet),
				  packet_addr(packet)};
	PyObject *result = NULL;

	if (arguments[1] != NULL && arguments[2] != NULL)
		result = PyObject_Vectorcall(callback, arguments + 1,
					     2 | PY_VECTORCALL_ARGUMENTS_OFFSET,
					     NULL);
	Py_XDECREF(arguments[1]);
	Py_XDECREF(arguments[2]);
	return result;
}

static int
call(struct turn *turn, struct packet *packet)
{
	PyObject *arguments[2] = {NULL, (PyObject *)packet};
	PyObject *result;

	/* Before the call: the callback may set the credit anew. */
	if (turn->delivery->credit > 0)
		turn->delivery->credit--;
	turn->called = true;
	turn->delivery->calling = 1;
	if (turn->datagrams)
		result = call_with_datagram(turn->callback, packet);
	else
		result = PyObject_Vectorcall(turn->callback, arguments + 1,
					     1 | PY_VECTORCALL_ARGUMENTS_OFFSET,
					     NULL);
	if (result == NULL)
		return -1;
	turn->delivery->calling = 0;
	Py_DECREF(result);
	return 0;
}

static int
deliver_backlog(struct turn *turn)
{
	struct backlog *backlog = turn->delivery->backlog;

	while (backlog->count > 0 && may_go_on(turn)) {
		PyObject *packet = backlog_pop(backlog);
		int failed;

		/* None: another thread was here, against the rules. */
		if (packet == NULL)
			break;
		failed = call(turn, (struct packet *)packet);
		Py_DECREF(packet);
		if (failed < 0)
			return -1;
	}
	return 0;
}

/*
 * Of the packet after the next: its header and the first of its bytes; all of
 * them, if the callback asked for those of the one before.
 */
static void
fetch_next(const struct walk *walk, const struct frame *frame, bool whole)
{
	size_t start = frame->header->tp_mac;
	size_t end = start + (whole ? frame->length : 1);

	walk_fetch(walk, frame, FETCH, 0);
	for (size_t at = start; at < end; at += FETCH_LINE)
		walk_fetch(walk, frame, FETCH, at);
}

/* What is left of ring->current, as far as one may go: 0 or -1. */
static int
deliver_block(struct turn *turn)
{
	struct ring *ring = turn->ring;
	struct slab *slab = ring->current;
	struct packet *packet = NULL;
	struct stride stride = {0};
	struct frame frame;
	int failed = 0;

	/* A callback may read, forget or close: the block may be over by that. */
	while (failed == 0 && ring->current == slab && may_go_on(turn) &&
	       ring_next_frame(ring, &frame)) {
		if (stride_holds(&stride, &frame, BELIEVED))
			fetch_next(&ring->walk, &frame,
				   packet != NULL && packet->data != NULL);
		else
			walk_fetch_all(&ring->walk, &frame);
		if (packet != NULL && packet_is_ours(packet, slab)) {
			packet_replace(packet, &frame, 0);
		} else {
			Py_XDECREF((PyObject *)packet);
			packet = packet_place(ring->state->packet_type, slab,
					      &frame, 0);
		}
		failed = packet != NULL ? call(turn, packet) : -1;
	}
	/* Before the block is left: nobody has it, so it is not copied out. */
	Py_XDECREF((PyObject *)packet);
	return failed;
}

int
ring_dispatch(struct ring *ring, struct delivery *delivery, PyObject *callback,
	      bool datagrams, int64_t nanoseconds)
{
	struct turn turn = {
		.ring = ring,
		.delivery = delivery,
		.callback = callback,
		.datagrams = datagrams,
		.clock = clock_start(nanoseconds, 2),
	};

	delivery->interrupted = 0;
	delivery->calling = 0;
	if (deliver_backlog(&turn) < 0)
		return -1;
	while (!delivery->interrupted && delivery->credit != 0) {
		int found = ring_open_block(ring, !turn.called);

		if (found <= 0)
			return found;
		if (deliver_block(&turn) < 0)
			return -1;
		if (ring->current != NULL && ring->walk.left > 0)
			break;
		if (monotonic_ns() >= turn.clock.ends)
			break;
	}
	return 0;
}
