/* SPDX-License-Identifier: MIT */
/*
 * What is written of a packet, wherever it is: of one in a ring, without making
 * an object of it.
 */
#include "capture_source.h"

#include "batch_type.h"
#include "ring_walk.h"

static void
record_of_packet(struct record *record, struct packet *packet)
{
	packet_load(packet);
	record->bytes = packet->bytes;
	record->length = (size_t)packet->length;
	record->wire_len = packet->wire_len;
	record->timestamp_ns = packet->timestamp_ns;
	record->sender = packet->address.family == AF_PACKET
				 ? &packet->address.packet
				 : NULL;
	record->vlan_tci = packet->vlan_tci;
	record->vlan_tpid = packet->vlan_tpid;
	record->direction = packet->direction;
	record->undirected = packet->undirected;
}

static void
record_of_frame(struct record *record, const struct batch *batch, Py_ssize_t at)
{
	const struct columns *columns = batch->columns;
	const unsigned char *memory = batch->slab->memory;
	const struct tpacket3_hdr *header = batch_header(batch, at);
	const struct sockaddr_ll *sender = frame_sender(header);

	record->bytes = memory + columns->offsets[at];
	record->length = columns->lens[at];
	record->wire_len = header->tp_len;
	record->timestamp_ns = columns->timestamps_ns[at];
	record->sender = sender->sll_family == AF_PACKET ? sender : NULL;
	record->direction = packet_direction(sender->sll_pkttype);
	record->undirected = false;
	frame_tag(header, &record->vlan_tci, &record->vlan_tpid);
}

void
capture_record(struct record *record, const struct source *source,
	       Py_ssize_t at)
{
	if (source->batch != NULL)
		record_of_frame(record, source->batch, at);
	else
		record_of_packet(record, (struct packet *)PyList_GetItem(
						 source->list, at));
}

/* Packets only, or an exception. */
static int
open_list(struct source *source, PyTypeObject *type)
{
	for (Py_ssize_t at = 0; at < source->count; at++) {
		PyObject *packet = PyList_GetItem(source->list, at);

		if (Py_TYPE(packet) == type)
			continue;
		PyErr_Format(PyExc_TypeError,
			     "what is written are packets, not %R", packet);
		return -1;
	}
	return 0;
}

/* 0, or -1 with an exception. */
int
capture_open(struct source *source, PyObject *packets,
	     const struct module_state *state)
{
	*source = (struct source){.count = 0};
	if (Py_TYPE(packets) == state->batch_type) {
		const struct batch *batch = (struct batch *)packets;

		source->count = batch->count;
		if (batch->slab != NULL)
			source->batch = batch;
		else
			source->list = batch->packets;
		return 0;
	}
	if (!PyList_Check(packets)) {
		PyErr_Format(PyExc_TypeError,
			     "packets come in a batch or a list, not in %R",
			     Py_TYPE(packets));
		return -1;
	}
	source->list = packets;
	source->count = PyList_Size(packets);
	return open_list(source, state->packet_type);
}
