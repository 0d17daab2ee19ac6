/* SPDX-License-Identifier: MIT */
#ifndef AIOPROCKET_CAPTURE_H
#define AIOPROCKET_CAPTURE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* How a capture file is laid out: one of the first two, and any of the rest. */
enum layout {
	LAYOUT_PCAPNG = 0,
	LAYOUT_PCAP = 1,
	LAYOUT_SWAPPED = 2,	/* in the byte order that is not the host's */
	LAYOUT_MICROSECONDS = 4,	/* pcap: of timestamps */
	LAYOUT_MODIFIED = 8,	/* pcap: records with the interface, when read */
	LAYOUT_COOKED = 16,	/* Linux cooked headers are made, when written */
	LAYOUT_ALL = 31,
};

/* draft-ietf-opsawg-pcapng, draft-ietf-opsawg-pcap */
enum {
	BLOCK_PACKET = 2,	/* obsolete */
	BLOCK_SIMPLE = 3,
	BLOCK_ENHANCED = 6,
	BLOCK_MOST = 0x1000000,

	BLOCK_HEADER = 8,
	BLOCK_TRAILER = 4,
	ENHANCED_HEADER = 20,
	SIMPLE_HEADER = 4,
	RECORD_HEADER = 16,
	RECORD_HEADER_MODIFIED = 24,

	OPTION_END = 0,
	OPTION_FLAGS = 2,
	OPTION_DROPCOUNT = 4,

	FLAGS_IN = 1,
	FLAGS_OUT = 2,
	FLAGS_DIRECTION = 3,
	FLAGS_UNICAST = 1 << 2,
	FLAGS_MULTICAST = 2 << 2,
	FLAGS_BROADCAST = 3 << 2,
	FLAGS_PROMISCUOUS = 4 << 2,
	FLAGS_RECEPTION = 7 << 2,
};

static inline uint32_t
capture_u32(const unsigned char *at, int layout)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return layout & LAYOUT_SWAPPED ? __builtin_bswap32(value) : value;
}

static inline uint16_t
capture_u16(const unsigned char *at, int layout)
{
	uint16_t value;

	memcpy(&value, at, sizeof(value));
	return layout & LAYOUT_SWAPPED ? __builtin_bswap16(value) : value;
}

static inline unsigned char *
capture_put32(unsigned char *at, uint32_t value, int layout)
{
	if (layout & LAYOUT_SWAPPED)
		value = __builtin_bswap32(value);
	memcpy(at, &value, sizeof(value));
	return at + sizeof(value);
}

static inline unsigned char *
capture_put16(unsigned char *at, uint16_t value, int layout)
{
	if (layout & LAYOUT_SWAPPED)
		value = __builtin_bswap16(value);
	memcpy(at, &value, sizeof(value));
	return at + sizeof(value);
}

bool capture_time(int64_t *timestamp_ns, uint64_t ticks, uint32_t resolution,
		  int64_t seconds);
PyObject *capture_write(PyObject *module, PyObject *args);
PyObject *capture_read(PyObject *module, PyObject *args);
extern const char capture_write_doc[];
extern const char capture_read_doc[];

#endif
