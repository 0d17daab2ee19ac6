/* SPDX-License-Identifier: MIT */
/*
 * Receiver.dispatch(): packets to a callback, without a list in between.
 *
 * A packet that is dropped before the next is made leaves its memory to it, so
 * all of them pass through the same few cache lines.
 */
#include "dispatch.h"

#include "batch.h"
#include "clock.h"
#include "critical.h"
#include "delivery.h"
#include "fill.h"
#include "frames.h"
#include "packet.h"
#include "receiver.h"

#include <errno.h>

struct turn {
	struct receiver *receiver;
	struct delivery *delivery;
	PyObject *callback;
	bool datagrams;		/* callback(data, addr), else callback(packet) */
	Py_ssize_t left;	/* of the budget */
	struct turn_clock clock;
};

static bool
may_go_on(struct turn *turn)
{
	return turn->left > 0 && !turn->delivery->interrupted &&
	       turn->delivery->credit != 0 && !clock_is_over(&turn->clock);
}

/* Before the call: the callback may set the credit anew. */
static void
pay(struct turn *turn)
{
	turn->left--;
	if (turn->delivery->credit > 0)
		turn->delivery->credit--;
	turn->delivery->calling = 1;
}

/* Steals result, which is NULL after an exception. */
static int
called(struct turn *turn, PyObject *result)
{
	if (result == NULL)
		return -1;
	turn->delivery->calling = 0;
	Py_DECREF(result);
	return 0;
}

/* Steals packet. */
static int
call_with_packet(struct turn *turn, PyObject *packet)
{
	PyObject *result;

	if (packet == NULL)
		return -1;
	pay(turn);
	if (turn->datagrams) {
		PyObject *data = packet_data((struct packet *)packet);
		PyObject *addr = packet_addr((struct packet *)packet);

		result = data == NULL || addr == NULL
				 ? NULL
				 : PyObject_CallFunctionObjArgs(turn->callback,
								data, addr,
								NULL);
		Py_XDECREF(data);
		Py_XDECREF(addr);
	} else {
		result = PyObject_CallFunctionObjArgs(turn->callback, packet,
						      NULL);
	}
	Py_DECREF(packet);
	return called(turn, result);
}

static int
call_with_datagram(struct turn *turn, struct mmsghdr *slot)
{
	PyObject *addr, *data = batch_datagram(turn->receiver, slot, &addr);
	PyObject *result;

	if (data == NULL)
		return -1;
	pay(turn);
	result = PyObject_CallFunctionObjArgs(turn->callback, data, addr, NULL);
	Py_DECREF(data);
	Py_DECREF(addr);
	return called(turn, result);
}

static int
deliver_backlog(struct turn *turn)
{
	struct backlog *backlog = turn->delivery->backlog;

	while (backlog->count > 0 && may_go_on(turn)) {
		PyObject *packet = backlog_pop(backlog);

		/* None: another thread was here, against the rules. */
		if (packet == NULL)
			break;
		if (call_with_packet(turn, packet) < 0)
			return -1;
	}
	return 0;
}

/* Keeps the exception that is set. */
static void
land_after_error(struct delivery *delivery)
{
	PyObject *type, *value, *traceback;

	PyErr_Fetch(&type, &value, &traceback);
	if (delivery_land(delivery) < 0)
		PyErr_WriteUnraisable((PyObject *)delivery);
	PyErr_Restore(type, value, traceback);
}

static int
deliver_flight(struct turn *turn, struct flight *flight)
{
	while (flight->next < flight->end && may_go_on(turn)) {
		struct alone alone;
		struct mmsghdr *slot = coalesced_next(flight, &alone);
		int failed = turn->datagrams
				     ? call_with_datagram(turn, slot)
				     : call_with_packet(turn,
							batch_packet(turn->receiver,
								     slot));

		if (failed < 0) {
			land_after_error(turn->delivery);
			return -1;
		}
	}
	return delivery_land(turn->delivery);
}

/* At most so many that all of them may be delivered. */
static int
count_slots(const struct turn *turn)
{
	Py_ssize_t wanted = turn->left;

	if (turn->delivery->credit > 0 && turn->delivery->credit < wanted)
		wanted = turn->delivery->credit;
	return coalesced_slots(turn->receiver, wanted);
}

static bool
are_frames_there(const struct turn *turn)
{
	const struct receiver *receiver = turn->receiver;

	return receiver->frames != NULL && !turn->datagrams &&
	       frames_next_is_whole(receiver->frames);
}

/*
 * Out of shared memory, one by one: what is not delivered stays there.  As
 * deliver_some().
 */
static int
deliver_frames(struct turn *turn)
{
	struct receiver *receiver = turn->receiver;

	while (may_go_on(turn)) {
		if (call_with_packet(turn, frames_take(receiver)) < 0)
			return -1;
		/* A callback may close the channel. */
		if (receiver->frames == NULL || !frames_is_next(receiver->frames))
			return 0;
		if (!are_frames_there(turn))
			return 1;
	}
	return 1;
}

/* One system call: whether there may be more, -1 with an exception. */
static int
deliver_some(struct turn *turn)
{
	struct receiver *receiver = turn->receiver;
	struct scratch_pool *pool = &receiver->state->scratch;
	struct scratch *scratch = scratch_take(pool, receiver->size);
	struct flight flight = {.receiver = receiver};
	unsigned long long before = receiver->packets;
	int wanted = count_slots(turn);
	int filled, failed;

	if (scratch == NULL) {
		PyErr_NoMemory();
		return -1;
	}
	filled = fill(receiver, scratch, wanted);
	flight.next = scratch->messages;
	flight.end = scratch->messages + filled;
	turn->delivery->flight = &flight;
	failed = deliver_flight(turn, &flight);
	turn->delivery->flight = NULL;
	scratch_give(pool, scratch);
	coalesced_learn(receiver, before, filled);
	/* What one slot may bring is to be delivered, not to wait. */
	return failed < 0 ? -1
			  : filled == wanted && turn->left >= receiver->per_slot;
}

static int
deliver(struct turn *turn)
{
	struct receiver *receiver = turn->receiver;
	Py_ssize_t budget = turn->left;
	int more = 1;

	if (deliver_backlog(turn) < 0)
		return -1;
	if (receiver->failure != NO_FAILURE && turn->left == budget)
		return fill_settle(receiver) < 0 ? -1 : 0;
	while (more > 0 && receiver->failure == NO_FAILURE && may_go_on(turn))
		more = are_frames_there(turn) ? deliver_frames(turn)
					      : deliver_some(turn);
	if (more < 0)
		return -1;
	/* An error that packets came before is the next call's, as in receive(). */
	if (turn->left == budget)
		return fill_settle(receiver) < 0 ? -1 : 0;
	if (receiver->failure == EAGAIN || receiver->failure == EINTR)
		receiver->failure = NO_FAILURE;
	return 0;
}

int
receiver_dispatch(struct receiver *receiver, struct delivery *delivery,
		  PyObject *callback, Py_ssize_t budget, bool datagrams,
		  int64_t nanoseconds)
{
	struct turn turn = {
		.receiver = receiver,
		.delivery = delivery,
		.callback = callback,
		.datagrams = datagrams,
		.left = budget,
		/* Behind the first packet, which is the third to be asked. */
		.clock = clock_start(nanoseconds, 3),
	};

	if (delivery->flight != NULL) {
		PyErr_SetString(PyExc_RuntimeError, "within a dispatch");
		return -1;
	}
	delivery->interrupted = 0;
	delivery->calling = 0;
	delivery->thread = PyThread_get_thread_ident();
	return deliver(&turn);
}

const char dispatch_doc[] =
"dispatch($self, delivery, callback, budget, datagrams, nanoseconds, /)\n"
"--\n"
"\n"
"Call back for each packet: the backlog's first, then those that wait.\n"
"\n"
"It ends after budget packets, after that time, when the credit is used up,\n"
"when the callback raises or the delivery is interrupted. What was read and\n"
"not delivered then is in the backlog.\n"
"\n"
"Args:\n"
"    delivery: The credit, which each packet is paid with, and the backlog.\n"
"    callback: Called with a Packet, or, with datagrams, with its data and\n"
"        its address.\n"
"\n"
"Raises:\n"
"    What the callback raises: delivery.calling is true then.\n"
"    And what receive() raises, if there was no packet before it.";

PyObject *
dispatch(PyObject *op, PyObject *args)
{
	struct receiver *receiver = (struct receiver *)op;
	PyObject *delivery, *callback;
	Py_ssize_t budget;
	int datagrams, failed;
	long long nanoseconds;

	if (!PyArg_ParseTuple(args, "O!OnpL:dispatch",
			      receiver->state->delivery_type, &delivery,
			      &callback, &budget, &datagrams, &nanoseconds))
		return NULL;
	BEGIN(op);
	failed = receiver_dispatch(receiver, (struct delivery *)delivery,
				   callback, budget, datagrams != 0,
				   nanoseconds);
	END();
	if (failed < 0)
		return NULL;
	Py_RETURN_NONE;
}
