/* SPDX-License-Identifier: MIT */
/*
 * Packets as a capture file has them, many by one call: of a batch in a ring
 * without making any of its packets.  What a file begins with, and all that
 * is not a packet, is Python's.
 */
#include "capture.h"

#include "capture_source.h"
#include "module.h"

enum {
	TAG = 4,		/* a VLAN tag: its EtherType, and the rest */
	COOKED_HEADER = 16,	/* LINKTYPE_LINUX_SLL */
	HEAD_MOST = COOKED_HEADER + TAG,
	FLAGS_SIZE = 8,
	DROPCOUNT_SIZE = 12,
	END_SIZE = 4,
};

/* How, and as what of which interface. */
struct target {
	unsigned char *at;
	unsigned char *end;
	int layout;
	unsigned int interface;
	unsigned int snaplen;
	Py_ssize_t tag_at;		/* negative: tags are left out */
	unsigned long long dropped;	/* said with the first packet */
};

/* What goes before the rest of a packet's bytes, and what it is in place of. */
struct head {
	unsigned char bytes[HEAD_MOST];
	size_t length;
	size_t instead;
};

/* The Linux cooked header of a packet without a link header. */
static void
put_cooked(struct head *head, const struct record *record)
{
	const struct sockaddr_ll *sender = record->sender;

	memset(head->bytes, 0, COOKED_HEADER);
	head->length = COOKED_HEADER;
	if (sender == NULL)
		return;
	head->bytes[1] = sender->sll_pkttype;
	head->bytes[2] = (unsigned char)(sender->sll_hatype >> 8);
	head->bytes[3] = (unsigned char)sender->sll_hatype;
	head->bytes[5] = sender->sll_halen;
	memcpy(head->bytes + 6, sender->sll_addr, sizeof(sender->sll_addr));
	memcpy(head->bytes + 14, &sender->sll_protocol,
	       sizeof(sender->sll_protocol));
}

/* Put a tag into the head: it ends up tag_at bytes from the beginning. */
static void
put_tag(struct head *head, const struct record *record, size_t tag_at)
{
	size_t behind;

	if (head->length == 0) {
		if (record->length < tag_at)
			return;
		memcpy(head->bytes, record->bytes, tag_at);
		head->length = tag_at;
		head->instead = tag_at;
	}
	behind = head->length - tag_at;
	memmove(head->bytes + tag_at + TAG, head->bytes + tag_at, behind);
	head->bytes[tag_at] = (unsigned char)(record->vlan_tpid >> 8);
	head->bytes[tag_at + 1] = (unsigned char)record->vlan_tpid;
	head->bytes[tag_at + 2] = (unsigned char)(record->vlan_tci >> 8);
	head->bytes[tag_at + 3] = (unsigned char)record->vlan_tci;
	head->length += TAG;
}

static uint32_t
flags_of(const struct record *record)
{
	switch (record->direction) {
	case DIRECTION_OUT:
		return FLAGS_OUT;
	case DIRECTION_BROADCAST:
		return FLAGS_IN | FLAGS_BROADCAST;
	case DIRECTION_MULTICAST:
		return FLAGS_IN | FLAGS_MULTICAST;
	case DIRECTION_OTHERHOST:
		return FLAGS_IN | FLAGS_PROMISCUOUS;
	case DIRECTION_IN:
	case DIRECTION_COUNT:
		break;
	}
	/* Other sockets do not say whether it was for this host alone. */
	return record->sender != NULL ? FLAGS_IN | FLAGS_UNICAST : FLAGS_IN;
}

static unsigned char *
put_data(unsigned char *at, const struct record *record,
	 const struct head *head, uint32_t kept)
{
	uint32_t before = kept < head->length ? kept : (uint32_t)head->length;

	memcpy(at, head->bytes, before);
	memcpy(at + before, record->bytes + head->instead, kept - before);
	return at + kept;
}

static bool
put_record(struct target *target, const struct record *record,
	   const struct head *head, uint32_t kept, uint32_t wire_len)
{
	int layout = target->layout;
	int64_t seconds = record->timestamp_ns / 1000000000;
	int64_t fraction = record->timestamp_ns % 1000000000;
	unsigned char *at = target->at;

	if ((size_t)(target->end - at) < RECORD_HEADER + (size_t)kept)
		return false;
	if (fraction < 0) {
		fraction += 1000000000;
		seconds--;
	}
	if (layout & LAYOUT_MICROSECONDS)
		fraction /= 1000;
	at = capture_put32(at, (uint32_t)seconds, layout);
	at = capture_put32(at, (uint32_t)fraction, layout);
	at = capture_put32(at, kept, layout);
	at = capture_put32(at, wire_len, layout);
	target->at = put_data(at, record, head, kept);
	return true;
}

static unsigned char *
put_options(unsigned char *at, struct target *target,
	    const struct record *record)
{
	int layout = target->layout;
	bool swapped = layout & LAYOUT_SWAPPED;

	if (!record->undirected) {
		at = capture_put16(at, OPTION_FLAGS, layout);
		at = capture_put16(at, 4, layout);
		at = capture_put32(at, flags_of(record), layout);
	}
	if (target->dropped > 0) {
		uint64_t dropped = swapped ? __builtin_bswap64(target->dropped)
					   : target->dropped;

		at = capture_put16(at, OPTION_DROPCOUNT, layout);
		at = capture_put16(at, sizeof(dropped), layout);
		memcpy(at, &dropped, sizeof(dropped));
		at += sizeof(dropped);
		target->dropped = 0;
	}
	return capture_put32(at, OPTION_END, layout);
}

static bool
put_block(struct target *target, const struct record *record,
	  const struct head *head, uint32_t kept, uint32_t wire_len)
{
	int layout = target->layout;
	uint64_t timestamp = (uint64_t)record->timestamp_ns;
	uint32_t padding = -kept & 3;
	uint32_t options = record->undirected ? 0 : FLAGS_SIZE;
	uint32_t size;
	unsigned char *at = target->at;

	if (target->dropped > 0)
		options += DROPCOUNT_SIZE;
	if (options > 0)
		options += END_SIZE;
	size = BLOCK_HEADER + ENHANCED_HEADER + kept + padding + options +
	       BLOCK_TRAILER;
	if ((size_t)(target->end - at) < size)
		return false;
	at = capture_put32(at, BLOCK_ENHANCED, layout);
	at = capture_put32(at, size, layout);
	at = capture_put32(at, target->interface, layout);
	at = capture_put32(at, (uint32_t)(timestamp >> 32), layout);
	at = capture_put32(at, (uint32_t)timestamp, layout);
	at = capture_put32(at, kept, layout);
	at = capture_put32(at, wire_len, layout);
	at = put_data(at, record, head, kept);
	memset(at, 0, padding);
	at += padding;
	if (options > 0)
		at = put_options(at, target, record);
	target->at = capture_put32(at, size, layout);
	return true;
}

/* Whether there was room for it. */
static bool
put(struct target *target, const struct record *record)
{
	struct head head = {.length = 0};
	size_t length;
	uint32_t kept, wire_len;

	if (target->layout & LAYOUT_COOKED)
		put_cooked(&head, record);
	if (record->vlan_tpid != 0 && target->tag_at >= 0)
		put_tag(&head, record, (size_t)target->tag_at);
	length = record->length + head.length - head.instead;
	kept = length < target->snaplen ? (uint32_t)length : target->snaplen;
	wire_len = record->wire_len + (uint32_t)(head.length - head.instead);
	if (target->layout & LAYOUT_PCAP)
		return put_record(target, record, &head, kept, wire_len);
	return put_block(target, record, &head, kept, wire_len);
}

const char capture_write_doc[] =
"capture_write(buffer, at, end, packets, start, stop, layout, interface,\n"
"              snaplen, tag_at, dropped, /)\n"
"--\n"
"\n"
"Write packets into a buffer as a capture file has them: whole ones only.\n"
"\n"
"Returns where the next one goes, and its index in packets.\n"
"\n"
"Args:\n"
"    buffer: Writable memory.\n"
"    at: Where in it to begin.\n"
"    end: Where room ends.\n"
"    packets: A Batch or a list of packets.\n"
"    start: The first to be written.\n"
"    stop: The first not to be written.\n"
"    layout: Bits of native/capture.h.\n"
"    interface: The number that they are written with.\n"
"    snaplen: Bytes of a packet at most.\n"
"    tag_at: Where in a packet a VLAN tag belongs; -1: nowhere.\n"
"    dropped: What the first one says of packets that are missing before it.";

static Py_ssize_t
write_all(struct target *target, const struct source *source, Py_ssize_t start,
	  Py_ssize_t stop)
{
	struct record record;

	for (; start < stop; start++) {
		capture_record(&record, source, start);
		if (!put(target, &record))
			break;
	}
	return start;
}

static bool
check(const Py_buffer *buffer, Py_ssize_t at, Py_ssize_t end,
      const struct target *target)
{
	if (at >= 0 && at <= end && end <= buffer->len &&
	    target->tag_at <= COOKED_HEADER && target->layout >= 0 &&
	    target->layout <= LAYOUT_ALL && target->snaplen <= BLOCK_MOST / 2)
		return true;
	PyErr_SetString(PyExc_ValueError,
			"capture_write: a place outside of the buffer, or a "
			"layout that does not exist");
	return false;
}

PyObject *
capture_write(PyObject *module, PyObject *args)
{
	struct module_state *state = PyModule_GetState(module);
	struct target target = {.layout = 0};
	struct source source;
	Py_ssize_t at, end, start, stop;
	PyObject *packets, *result = NULL;
	Py_buffer buffer;

	if (!PyArg_ParseTuple(args, "w*nnOnniIInK:capture_write", &buffer, &at,
			      &end, &packets, &start, &stop, &target.layout,
			      &target.interface, &target.snaplen,
			      &target.tag_at, &target.dropped))
		return NULL;
	if (check(&buffer, at, end, &target) &&
	    capture_open(&source, packets, state) == 0) {
		target.at = (unsigned char *)buffer.buf + at;
		target.end = (unsigned char *)buffer.buf + end;
		if (start < 0)
			start = 0;
		if (stop > source.count)
			stop = source.count;
		start = write_all(&target, &source, start, stop);
		at = target.at - (unsigned char *)buffer.buf;
		result = Py_BuildValue("(nn)", at, start);
	}
	PyBuffer_Release(&buffer);
	return result;
}
