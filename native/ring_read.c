/* SPDX-License-Identifier: MIT */
/* Reading a ring: packets in a list, or a batch. */
#include "ring.h"

#include "batch_type.h"
#include "packet.h"

/* A list that never goes beyond a block, for that would end the block. */
PyObject *
ring_receive(struct ring *ring, Py_ssize_t count)
{
	int found = ring_open_block(ring, true);
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

/* What is left of a block, or count of that: a Batch, or None for nothing. */
PyObject *
ring_take(struct ring *ring, Py_ssize_t count)
{
	struct tally tally = {0};
	struct batch *batch;

	for (;;) {
		int found = ring_open_block(ring, true);

		if (found < 0)
			return NULL;
		if (found == 0)
			Py_RETURN_NONE;
		batch = batch_take(ring->state, ring->current, &ring->walk,
				   count, &tally);
		if (batch == NULL)
			return NULL;
		ring->packets += (uint64_t)batch->count;
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
	ring->bytes += tally.bytes;
	ring->truncated += tally.truncated;
#ifdef Py_GIL_DISABLED
	/* Nothing in the ring may be seen beside it. */
	if (batch_copy_out(batch) < 0)
		Py_CLEAR(batch);
#endif
	return (PyObject *)batch;
}
