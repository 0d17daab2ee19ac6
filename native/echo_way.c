/* SPDX-License-Identifier: MIT */
/*
 * Which frames lead to an address: what the program has found out, for ranges
 * of addresses that the kernel treats alike.  There is room for a fixed number
 * of them; then all are forgotten, and found out anew where they are needed.
 */
#include "echo_frame.h"

#include <string.h>

static int
compare(const struct echo_way *way, const unsigned char *address,
	uint32_t scope)
{
	if (way->scope != scope)
		return way->scope < scope ? -1 : 1;
	return memcmp(way->first, address, ECHO_ADDRESS);
}

/* How many begin at or before an address. */
static size_t
rank(const struct echo_frames *self, const unsigned char *address,
     uint32_t scope)
{
	size_t low = 0, high = self->ways_used;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (compare(&self->ways[middle], address, scope) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool
holds(const struct echo_way *way, const unsigned char *address, uint32_t scope)
{
	return compare(way, address, scope) <= 0 && way->scope == scope &&
	       memcmp(way->last, address, ECHO_ADDRESS) >= 0;
}

/* NULL: none is known, or it has become old. */
struct echo_way *
echo_way_find(struct echo_frames *self, const unsigned char *address,
	      uint32_t scope)
{
	size_t count;

	if (self->last != NULL && holds(self->last, address, scope))
		return self->last;
	count = rank(self, address, scope);
	if (count == 0 || !holds(&self->ways[count - 1], address, scope))
		return NULL;
	self->last = &self->ways[count - 1];
	return self->last;
}

static int
read_way(struct echo_frames *self, PyObject *args, struct echo_way *way)
{
	const char *first, *last, *source, *link;
	Py_ssize_t first_length, last_length, source_length, link_length;
	Py_ssize_t length = self->version == 4 ? 4 : ECHO_ADDRESS;
	unsigned int scope, mtu;
	long long until;

	if (!PyArg_ParseTuple(args, "y#y#Iiy#y#IL:set_way", &first,
			      &first_length, &last, &last_length, &scope,
			      &way->ifindex, &source, &source_length, &link,
			      &link_length, &mtu, &until))
		return -1;
	if (first_length != length || last_length != length ||
	    source_length != length || link_length != ETH_HLEN) {
		PyErr_SetString(PyExc_ValueError,
				"an address or a header of another length");
		return -1;
	}
	memcpy(way->first, first, (size_t)length);
	memcpy(way->last, last, (size_t)length);
	memcpy(way->source, source, (size_t)length);
	memcpy(way->link, link, ETH_HLEN);
	way->scope = scope;
	way->mtu = mtu;
	way->until = until;
	return 0;
}

/* Those that begin in its range: they would be found in place of it. */
static void
forget_inside(struct echo_frames *self, const struct echo_way *way)
{
	size_t from = rank(self, way->first, way->scope);
	size_t to = rank(self, way->last, way->scope);

	if (from > 0 &&
	    compare(&self->ways[from - 1], way->first, way->scope) == 0)
		from--;
	if (to <= from)
		return;
	memmove(&self->ways[from], &self->ways[to],
		(self->ways_used - to) * sizeof(*self->ways));
	self->ways_used -= to - from;
}

const char echo_way_set_doc[] =
"set_way($self, first, last, scope, ifindex, source, link, mtu, until_ns, /)\n"
"--\n"
"\n"
"Send what goes to addresses of a range by an interface.\n"
"\n"
"Args:\n"
"    first: The first address.\n"
"    last: The last one.\n"
"    scope: That targets of these addresses have; 0: none.\n"
"    ifindex: The interface.\n"
"    source: The address that probes come from.\n"
"    link: The 14 bytes of the Ethernet header.\n"
"    mtu: Bytes that follow it at most.\n"
"    until_ns: When this is old, by the monotonic clock.";

PyObject *
echo_way_set(PyObject *op, PyObject *args)
{
	struct echo_frames *self = (struct echo_frames *)op;
	struct echo_way way = {0};
	size_t at;

	if (read_way(self, args, &way) < 0)
		return NULL;
	self->last = NULL;
	forget_inside(self, &way);
	at = rank(self, way.first, way.scope);
	if (self->ways_used == FRAME_WAYS)
		self->ways_used = at = 0;
	memmove(&self->ways[at + 1], &self->ways[at],
		(self->ways_used - at) * sizeof(*self->ways));
	self->ways[at] = way;
	self->ways_used++;
	Py_RETURN_NONE;
}

PyObject *
echo_way_forget(PyObject *op, PyObject *Py_UNUSED(ignored))
{
	struct echo_frames *self = (struct echo_frames *)op;

	self->ways_used = 0;
	self->last = NULL;
	Py_RETURN_NONE;
}
