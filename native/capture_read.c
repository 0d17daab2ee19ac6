/* SPDX-License-Identifier: MIT */
/*
 * Packets of a capture file, many by one call.  It ends before whatever is
 * not a packet, not whole or not right: that is Python's to read, and to
 * complain about.
 */
#include "capture.h"

#include "module.h"
#include "packet.h"

/* As aioprocket/pcapng/parser.py packs it, in the host's byte order. */
struct interface {
	int64_t offset;		/* seconds */
	uint32_t snaplen;	/* 0: no limit */
	uint32_t resolution;
};

enum {
	SECOND = 1000000000,	/* in nanoseconds */
	MOST_OPTIONS = 256,	/* of a packet */
	MOST_OPTION_BYTES = 0x10000,	/* in which they begin */
};

struct walk_file {
	const unsigned char *memory;
	size_t size;
	size_t at;
	int layout;
	const unsigned char *interfaces;
	size_t interface_count;
	int first_ifindex;
	PyTypeObject *type;
	/* Of the packets that were read. */
	unsigned long long bytes;
	unsigned long long dropped;
	Py_ssize_t truncated;
};

/* One packet, as it stands in the file. */
struct found {
	const unsigned char *bytes;
	uint32_t length;
	uint32_t wire_len;
	int64_t timestamp_ns;
	uint32_t interface;
	uint32_t flags;
	uint64_t dropped;
	size_t size;	/* of all of it */
};

static bool
find_interface(const struct walk_file *walk, uint32_t number,
	       struct interface *interface)
{
	if (number >= walk->interface_count)
		return false;
	memcpy(interface, walk->interfaces + number * sizeof(*interface),
	       sizeof(*interface));
	return true;
}

/* Direction and drops; false: options that do not fit the block. */
static bool
read_options(const struct walk_file *walk, struct found *found,
	     const unsigned char *at, const unsigned char *end)
{
	const unsigned char *begin = at;

	for (int left = MOST_OPTIONS; at < end; left--) {
		uint16_t code;
		uint32_t length;	/* filled up it may be 65536 */

		if (end - at < 4)
			return false;
		code = capture_u16(at, walk->layout);
		length = capture_u16(at + 2, walk->layout);
		if (code == OPTION_END)
			return true;
		/* The rest is not looked at: as aioprocket/wire/options.py. */
		if (left == 0 || at - begin >= MOST_OPTION_BYTES)
			return true;
		at += 4;
		if (end - at < length)
			return false;
		if (code == OPTION_FLAGS) {
			if (length != 4)
				return false;
			found->flags = capture_u32(at, walk->layout);
		}
		if (code == OPTION_DROPCOUNT) {
			if (length != 8)
				return false;
			memcpy(&found->dropped, at, sizeof(found->dropped));
			if (walk->layout & LAYOUT_SWAPPED)
				found->dropped =
					__builtin_bswap64(found->dropped);
		}
		length += -length & 3;
		if (end - at < length)
			return true;
		at += length;
	}
	return true;
}

static bool
read_enhanced(const struct walk_file *walk, struct found *found,
	      const unsigned char *body, size_t size, bool obsolete)
{
	struct interface interface;
	uint64_t ticks;
	size_t length;

	if (size < ENHANCED_HEADER)
		return false;
	if (obsolete) {
		uint16_t dropped = capture_u16(body + 2, walk->layout);

		found->interface = capture_u16(body, walk->layout);
		found->dropped = dropped == UINT16_MAX ? 0 : dropped;
	} else
		found->interface = capture_u32(body, walk->layout);
	ticks = (uint64_t)capture_u32(body + 4, walk->layout) << 32 |
		capture_u32(body + 8, walk->layout);
	found->length = capture_u32(body + 12, walk->layout);
	found->wire_len = capture_u32(body + 16, walk->layout);
	found->bytes = body + ENHANCED_HEADER;
	if (found->length > size - ENHANCED_HEADER)
		return false;
	length = ENHANCED_HEADER + (size_t)found->length;
	length += -length & 3;
	if (!find_interface(walk, found->interface, &interface) ||
	    !capture_time(&found->timestamp_ns, ticks, interface.resolution,
			  interface.offset))
		return false;
	return length >= size ||
	       read_options(walk, found, body + length, body + size);
}

static bool
read_simple(const struct walk_file *walk, struct found *found,
	    const unsigned char *body, size_t size)
{
	struct interface interface;

	if (size < SIMPLE_HEADER || !find_interface(walk, 0, &interface))
		return false;
	found->wire_len = capture_u32(body, walk->layout);
	found->bytes = body + SIMPLE_HEADER;
	found->length = (uint32_t)(size - SIMPLE_HEADER);
	if (found->length > found->wire_len)
		found->length = found->wire_len;
	if (interface.snaplen != 0 && found->length > interface.snaplen)
		found->length = interface.snaplen;
	return true;
}

static bool
find_block(const struct walk_file *walk, struct found *found)
{
	const unsigned char *at = walk->memory + walk->at;
	size_t left = walk->size - walk->at, size;
	uint32_t type;

	if (left < BLOCK_HEADER + BLOCK_TRAILER)
		return false;
	type = capture_u32(at, walk->layout);
	found->size = capture_u32(at + 4, walk->layout);
	if (found->size > left || found->size > BLOCK_MOST ||
	    found->size < BLOCK_HEADER + BLOCK_TRAILER || found->size & 3 ||
	    capture_u32(at + found->size - BLOCK_TRAILER, walk->layout) !=
		    found->size)
		return false;
	size = found->size - BLOCK_HEADER - BLOCK_TRAILER;
	at += BLOCK_HEADER;
	switch (type) {
	case BLOCK_ENHANCED:
		return read_enhanced(walk, found, at, size, false);
	case BLOCK_PACKET:
		return read_enhanced(walk, found, at, size, true);
	case BLOCK_SIMPLE:
		return read_simple(walk, found, at, size);
	default:
		return false;
	}
}

/* The packet types of packet(7) in a record of the modified layout. */
static uint32_t
flags_of_pkttype(unsigned char pkttype)
{
	switch (packet_direction(pkttype)) {
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
	return FLAGS_IN | FLAGS_UNICAST;
}

static bool
find_record(const struct walk_file *walk, struct found *found)
{
	const unsigned char *at = walk->memory + walk->at;
	int layout = walk->layout;
	size_t left = walk->size - walk->at;
	size_t header = layout & LAYOUT_MODIFIED ? RECORD_HEADER_MODIFIED
						 : RECORD_HEADER;
	int64_t fraction;

	if (left < header)
		return false;
	fraction = capture_u32(at + 4, layout);
	if (layout & LAYOUT_MICROSECONDS)
		fraction *= 1000;
	found->timestamp_ns =
		(int64_t)capture_u32(at, layout) * SECOND + fraction;
	found->length = capture_u32(at + 8, layout);
	found->wire_len = capture_u32(at + 12, layout);
	found->bytes = at + header;
	if (found->length > BLOCK_MOST || found->length > left - header)
		return false;
	if (layout & LAYOUT_MODIFIED)
		found->flags = flags_of_pkttype(at[22]);
	found->size = header + found->length;
	return true;
}

static void
set_direction(struct packet *packet, uint32_t flags)
{
	packet->undirected = (flags & FLAGS_DIRECTION) == 0;
	if ((flags & FLAGS_DIRECTION) == FLAGS_OUT) {
		packet->direction = DIRECTION_OUT;
		return;
	}
	switch (flags & FLAGS_RECEPTION) {
	case FLAGS_MULTICAST:
		packet->direction = DIRECTION_MULTICAST;
		break;
	case FLAGS_BROADCAST:
		packet->direction = DIRECTION_BROADCAST;
		break;
	case FLAGS_PROMISCUOUS:
		packet->direction = DIRECTION_OTHERHOST;
		break;
	default:
		break;
	}
}

static PyObject *
make_packet(struct walk_file *walk, const struct found *found)
{
	PyObject *data = PyBytes_FromStringAndSize((const char *)found->bytes,
						   found->length);
	struct packet *packet;

	if (data == NULL)
		return NULL;
	packet = packet_new(walk->type, data);
	if (packet == NULL)
		return NULL;
	packet->timestamp_ns = found->timestamp_ns;
	packet->wire_len = found->wire_len > found->length ? found->wire_len
							   : found->length;
	packet->truncated = found->wire_len > found->length;
	packet->ifindex = walk->first_ifindex + (int)found->interface;
	set_direction(packet, found->flags);
	walk->bytes += found->length;
	walk->dropped += found->dropped;
	walk->truncated += packet->truncated;
	return (PyObject *)packet;
}

static PyObject *
read_all(struct walk_file *walk, Py_ssize_t count)
{
	PyObject *list = PyList_New(0);

	while (list != NULL && count-- > 0) {
		struct found found = {.flags = 0};
		PyObject *packet;

		if (!(walk->layout & LAYOUT_PCAP ? find_record(walk, &found)
						 : find_block(walk, &found)))
			break;
		packet = make_packet(walk, &found);
		if (packet == NULL || PyList_Append(list, packet) < 0)
			Py_CLEAR(list);
		Py_XDECREF(packet);
		walk->at += found.size;
	}
	return list;
}

const char capture_read_doc[] =
"capture_read(data, at, count, layout, interfaces, first_ifindex, /)\n"
"--\n"
"\n"
"Read up to count packets of a capture file: those that come next, whole.\n"
"\n"
"Returns them, and where what comes after them begins: the end of data,\n"
"packets beyond count, or something that is no packet, is not whole or is not\n"
"right. And of the packets: bytes, how many were cut, and how many the file\n"
"says are missing.\n"
"\n"
"Args:\n"
"    data: A part of the file.\n"
"    at: Where in it a packet begins.\n"
"    count: Packets at most.\n"
"    layout: Bits of native/capture.h.\n"
"    interfaces: For each interface of the section 16 bytes: seconds to be\n"
"        added, as 64 bits, snaplen and resolution as 32 each. Of pcap: none.\n"
"    first_ifindex: The ifindex of packets of the first of them.";

PyObject *
capture_read(PyObject *module, PyObject *args)
{
	struct module_state *state = PyModule_GetState(module);
	struct walk_file walk = {.type = state->packet_type};
	PyObject *list = NULL, *result = NULL;
	Py_buffer data, interfaces;
	Py_ssize_t at, count;

	if (!PyArg_ParseTuple(args, "y*nniy*i:capture_read", &data, &at, &count,
			      &walk.layout, &interfaces, &walk.first_ifindex))
		return NULL;
	walk.memory = data.buf;
	walk.size = (size_t)data.len;
	walk.at = (size_t)at;
	walk.interfaces = interfaces.buf;
	walk.interface_count =
		(size_t)interfaces.len / sizeof(struct interface);
	if (at < 0 || at > data.len || walk.layout < 0 ||
	    walk.layout > LAYOUT_ALL || walk.first_ifindex < 0)
		PyErr_SetString(PyExc_ValueError,
				"capture_read: a place outside of the data, "
				"or a layout that does not exist");
	else
		list = read_all(&walk, count);
	if (list != NULL)
		result = Py_BuildValue("(NnKnK)", list, (Py_ssize_t)walk.at,
				       walk.bytes, walk.truncated,
				       walk.dropped);
	PyBuffer_Release(&data);
	PyBuffer_Release(&interfaces);
	return result;
}
