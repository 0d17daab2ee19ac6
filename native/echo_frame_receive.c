/* SPDX-License-Identifier: MIT */
/*
 * Replies as frames, from a ring of a packet socket.  No kernel has looked at
 * them as IP does: what it would have thrown away is thrown away here.
 */
#include "echo_frame.h"
#include "echo_moment.h"

#include "inetsum.h"
#include "lineage.h"

#include <linux/if_packet.h>
#include <string.h>
#include <time.h>

enum {
	IPV4_HEADER = 20,
	IPV6_HEADER = 40,
	ICMPV4 = 1,
	ICMPV6 = 58,
	ADVERTISEMENT = 136,	/* RFC 4861 */
	FRAGMENT = 0x3fff,	/* more of them, or where it belongs */
	VLAN_ID = 0xfff,
	FRAME_ODD = 2048,	/* bytes of a frame that Python gets to see */
	SENDER = TPACKET_ALIGN((int)sizeof(struct tpacket2_hdr)),
};

/* What is in a frame, from its IP header on. */
struct arrived {
	const unsigned char *start;	/* of the frame */
	size_t whole;
	const unsigned char *ip;
	size_t length;
	bool unsummed;			/* the message has no checksum yet */
	int ifindex;
	struct echo_arrival arrival;
};

static uint16_t
get16(const unsigned char *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static struct tpacket2_hdr *
next_header(const struct frames *ring)
{
	return (void *)(ring->memory + ring->next * ring->frame_size);
}

static void
give_back(struct frames *ring, struct tpacket2_hdr *header)
{
	__atomic_store_n(&header->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
	if (++ring->next == ring->count)
		ring->next = 0;
}

static const struct sockaddr_ll *
sender_of(const struct tpacket2_hdr *header)
{
	return (const void *)((const unsigned char *)header + SENDER);
}

/* For this machine, and for no virtual network on the link. */
static bool
is_for_us(const struct tpacket2_hdr *header)
{
	if ((header->tp_status & TP_STATUS_VLAN_VALID) != 0 &&
	    (header->tp_vlan_tci & VLAN_ID) != 0)
		return false;
	return sender_of(header)->sll_pkttype == PACKET_HOST;
}

/* false: there is nothing in it that could be looked at. */
static bool
open_frame(const struct frames *ring, const struct tpacket2_hdr *header,
	   struct arrived *arrived)
{
	size_t start = header->tp_mac, ip = header->tp_net;
	size_t length = header->tp_snaplen;

	/* The kernel is trusted, and its offsets are checked all the same. */
	if (start > ring->frame_size || length > ring->frame_size - start ||
	    ip < start || ip - start > length)
		return false;
	arrived->start = (const unsigned char *)header + start;
	arrived->whole = length;
	arrived->ip = (const unsigned char *)header + ip;
	arrived->length = length - (ip - start);
	arrived->ifindex = sender_of(header)->sll_ifindex;
	arrived->unsummed = (header->tp_status & TP_STATUS_CSUMNOTREADY) != 0;
	arrived->arrival.received_ns =
		(int64_t)header->tp_sec * 1000000000 + header->tp_nsec;
	return true;
}

static int
keep(PyObject *list, PyObject *item)
{
	int failed = item == NULL ? -1 : PyList_Append(list, item);

	Py_XDECREF(item);
	return failed;
}

static int
keep_news(struct echo_frames *self, const struct arrived *arrived)
{
	size_t length =
		arrived->whole < FRAME_ODD ? arrived->whole : FRAME_ODD;

	if (PyList_Size(self->news) >= FRAME_WAYS)
		return 0;	/* somebody floods us with them */
	return keep(self->news,
		    Py_BuildValue("(iy#)", arrived->ifindex,
				  (const char *)arrived->start,
				  (Py_ssize_t)length));
}

static int
keep_error(struct echo_table *table, const struct arrived *arrived,
	   const unsigned char *message, size_t length)
{
	if (length > FRAME_ODD)
		length = FRAME_ODD;
	return keep(table->odd,
		    Py_BuildValue("(y#y#L)", message, (Py_ssize_t)length,
				  arrived->arrival.source,
				  (Py_ssize_t)echo_address_length(table),
				  (long long)arrived->arrival.received_ns));
}

/* The message of a packet of IPv4, if it is whole and what its header says. */
static int
take_ipv4(struct echo_table *table, struct arrived *arrived)
{
	const unsigned char *ip = arrived->ip, *message;
	size_t header, length;
	bool unchecked = table->unchecked;
	int failed;

	if (arrived->length < IPV4_HEADER || ip[0] >> 4 != 4)
		return 0;
	header = (size_t)(ip[0] & 15) * 4;
	length = get16(ip + 2);
	if (header < IPV4_HEADER || length < header ||
	    length > arrived->length || inetsum(ip, header) != 0xffff ||
	    (get16(ip + 6) & FRAGMENT) != 0 || ip[9] != ICMPV4)
		return 0;
	message = ip + header;
	length -= header;
	arrived->arrival.source = ip + 12;
	arrived->arrival.ttl = ip[8];
	if (length > 0 &&
	    (message[0] == 3 || message[0] == 11 || message[0] == 12)) {
		if (!arrived->unsummed && inetsum(message, length) != 0xffff)
			return 0;
		return keep_error(table, arrived, message, length);
	}
	table->unchecked = !arrived->unsummed;
	failed = echo_judge(table, message, length, &arrived->arrival);
	table->unchecked = unchecked;
	return failed;
}

static bool
sum_is_right(const unsigned char *ip, size_t length)
{
	unsigned char pseudo[8] = {0, 0, (unsigned char)(length >> 8),
				   (unsigned char)length, 0, 0, 0, ICMPV6};
	uint16_t sum = inetsum_add(inetsum(ip + 8, 32), inetsum(pseudo, 8));

	return inetsum_add(sum, inetsum(ip + IPV6_HEADER, length)) == 0xffff;
}

static int
take_ipv6(struct echo_frames *self, struct echo_table *table,
	  struct arrived *arrived)
{
	const unsigned char *ip = arrived->ip;
	const unsigned char *message = ip + IPV6_HEADER;
	size_t length;

	if (arrived->length < IPV6_HEADER || ip[0] >> 4 != 6 ||
	    ip[6] != ICMPV6)
		return 0;
	length = get16(ip + 4);
	if (length == 0 || length > arrived->length - IPV6_HEADER)
		return 0;
	arrived->arrival.source = ip + 8;
	arrived->arrival.ttl = ip[7];
	if (!arrived->unsummed && !sum_is_right(ip, length)) {
		table->corrupted += message[0] > 4 && message[0] != ADVERTISEMENT;
		return 0;
	}
	if (message[0] == ADVERTISEMENT)
		return keep_news(self, arrived);
	if (message[0] >= 1 && message[0] <= 4)
		return keep_error(table, arrived, message, length);
	return echo_judge(table, message, length, &arrived->arrival);
}

static int
take(struct echo_frames *self, struct echo_table *table,
     struct arrived *arrived)
{
	uint16_t protocol;

	if (arrived->whole < ETH_HLEN)
		return 0;
	protocol = get16(arrived->start + 2 * ETH_ALEN);
	if (protocol == ETHERTYPE_ARP)
		return keep_news(self, arrived);
	if (protocol == ETHERTYPE_IP && self->version == 4)
		return take_ipv4(table, arrived);
	if (protocol == ETHERTYPE_IPV6 && self->version == 6)
		return take_ipv6(self, table, arrived);
	return 0;
}

const char echo_frames_receive_doc[] =
"receive($self, table, /)\n"
"--\n"
"\n"
"As EchoTable.receive(), of frames; those about neighbours go to take_news().";

PyObject *
echo_frames_receive(PyObject *op, PyObject *argument)
{
	struct echo_frames *self = (struct echo_frames *)op;
	struct frames *ring = self->ring;
	struct arrived arrived = {0};
	long seen = 0;
	int failed = 0;

	if (!PyObject_TypeCheck(argument, self->state->echo_table_type)) {
		PyErr_SetString(PyExc_TypeError, "not an EchoTable");
		return NULL;
	}
	/* In a forked child the ring is the parent's. */
	if (ring == NULL || ring->process != lineage_here())
		return PyLong_FromLong(0);
	read_clocks(&arrived.arrival.monotonic_ns, &arrived.arrival.now_ns);
	for (; seen < FRAME_JUDGED && failed == 0 && frames_is_next(ring);
	     seen++) {
		struct tpacket2_hdr *header = next_header(ring);

		if (is_for_us(header) && open_frame(ring, header, &arrived))
			failed = take(self, (struct echo_table *)argument,
				      &arrived);
		give_back(ring, header);
	}
	return failed < 0 ? NULL : PyLong_FromLong(seen);
}

PyObject *
echo_frames_take_news(PyObject *op, PyObject *Py_UNUSED(ignored))
{
	struct echo_frames *self = (struct echo_frames *)op;
	PyObject *news = self->news, *fresh = PyList_New(0);

	if (fresh == NULL)
		return NULL;
	self->news = fresh;
	return news;
}
