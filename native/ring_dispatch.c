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
 * far apart as the last two before that is believed of the next.  Of so many
 * packets, each call is the quicker for what unbind() takes.
 */
enum { FETCH = 1, BELIEVED = 8, UNBOUND = 64 };

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
	PyObject *function;	/* of a bound method; NULL: as it is called */
	PyObject *self;		/* what it is bound to */
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

/*
 * What a bound method does for each call, once: 0, or -1 with an exception.
 * Only of the type itself, which nobody can derive from.
 */
static int
unbind(struct turn *turn)
{
	const struct module_state *state = turn->ring->state;

	if (turn->function != NULL ||
	    !Py_IS_TYPE(turn->callback, state->method_type))
		return 0;
	turn->self = PyObject_GetAttr(turn->callback, state->method_self);
	if (turn->self == NULL)
		return -1;
	turn->function = PyObject_GetAttr(turn->callback, state->method_func);
	if (turn->function == NULL)
		Py_CLEAR(turn->self);
	return turn->function != NULL ? 0 : -1;
}

/* So many arguments, before which two places are free. */
enum { BEFORE = 2 };

static PyObject *
call_back(struct turn *turn, PyObject **arguments, size_t count)
{
	/* The one before the first is the callee's to use. */
	if (turn->function == NULL)
		return PyObject_Vectorcall(
			turn->callback, arguments + BEFORE,
			count | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
	arguments[1] = turn->self;
	return PyObject_Vectorcall(turn->function, arguments + 1,
				   (count + 1) | PY_VECTORCALL_ARGUMENTS_OFFSET,
				   NULL);
}

static PyObject *
call_with_datagram(struct turn *turn, struct packet *packet)
{
	PyObject *data = packet_data(packet), *addr = packet_addr(packet);
	PyObject *arguments[BEFORE + 2] = {NULL, NULL, data, addr};
	PyObject *result = NULL;

	if (data != NULL && addr != NULL)
		result = call_back(turn, arguments, 2);
	Py_XDECREF(data);
	Py_XDECREF(addr);
	return result;
}

static PyObject *
call_with_packet(struct turn *turn, struct packet *packet)
{
	PyObject *arguments[BEFORE + 1] = {NULL, NULL, (PyObject *)packet};

	return call_back(turn, arguments, 1);
}

static int
call(struct turn *turn, struct packet *packet)
{
	PyObject *result;

	/* Before the call: the callback may set the credit anew. */
	if (turn->delivery->credit > 0)
		turn->delivery->credit--;
	turn->called = true;
	turn->delivery->calling = 1;
	result = turn->datagrams ? call_with_datagram(turn, packet)
				 : call_with_packet(turn, packet);
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

	if (ring->walk.left >= UNBOUND && unbind(turn) < 0)
		return -1;
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

static int
deliver_blocks(struct turn *turn)
{
	const struct delivery *delivery = turn->delivery;
	struct ring *ring = turn->ring;

	while (!delivery->interrupted && delivery->credit != 0) {
		int found = ring_open_block(ring, !turn->called);

		if (found <= 0)
			return found;
		if (deliver_block(turn) < 0)
			return -1;
		if (ring->current != NULL && ring->walk.left > 0)
			break;
		if (monotonic_ns() >= turn->clock.ends)
			break;
	}
	return 0;
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
	int failed;

	delivery->interrupted = 0;
	delivery->calling = 0;
	failed = deliver_backlog(&turn) < 0 ? -1 : deliver_blocks(&turn);
	Py_XDECREF(turn.function);
	Py_XDECREF(turn.self);
	return failed;
}
