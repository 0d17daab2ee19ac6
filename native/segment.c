/* SPDX-License-Identifier: MIT */
/*
 * A packet that is larger than one on the wire, cut as the kernel would have
 * cut it (tcp_gso_segment(), __udp_gso_segment(), inet_gso_segment()): each
 * segment has the headers of the whole, with its own lengths, identification,
 * sequence number, flags and checksums.
 */
#include "segment.h"

#include "inetsum.h"
#include "vnet.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <string.h>

/*
 * Each segment has a copy of all headers, and may have one byte of data: without
 * a bound, a packet of 64 KiB that is half headers would become one of a GiB.
 */
enum { HEADERS_MAX = 512 };

/* Where things are in the whole packet. */
struct layout {
	size_t network;		/* of the IP header */
	size_t transport;	/* of the TCP or UDP header */
	size_t payload;
	size_t check;		/* of the transport's checksum */
	size_t size;		/* of a segment's payload */
	bool ipv4;
	bool tcp;
};

unsigned int
segment_size(const struct packet *packet)
{
	struct virtio_net_hdr header;

	if (!vnet_find(packet->ancdata, &header) ||
	    header.gso_type == VIRTIO_NET_HDR_GSO_NONE)
		return 0;
	return header.gso_size;
}

static bool
find_protocol(struct layout *layout, unsigned char gso_type)
{
	switch (gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
	case VIRTIO_NET_HDR_GSO_TCPV6:
		layout->tcp = true;
		return true;
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		layout->tcp = false;
		return true;
	default:
		return false;
	}
}

/*
 * IP headers are whole words of four bytes, and an Ethernet header with any
 * number of VLAN tags is not: so where the transport begins tells whether
 * there is one.
 */
static bool
find_network(struct layout *layout, const unsigned char *data)
{
	size_t at = 0;
	uint16_t type;

	if (layout->transport % 4 == 2) {
		for (at = ETH_HLEN; at + sizeof(struct ip) <= layout->transport;
		     at += 4) {
			memcpy(&type, data + at - sizeof(type), sizeof(type));
			type = ntohs(type);
			if (type != ETH_P_8021Q && type != ETH_P_8021AD)
				break;
		}
	}
	layout->network = at;
	if (at + sizeof(struct ip) > layout->transport)
		return false;
	layout->ipv4 = data[at] >> 4 == 4;
	if (layout->ipv4)
		return at + (data[at] & 15u) * 4u == layout->transport;
	return data[at] >> 4 == 6 &&
	       at + sizeof(struct ip6_hdr) <= layout->transport;
}

static bool
find_payload(struct layout *layout, const unsigned char *data, size_t length)
{
	size_t header = sizeof(struct udphdr);

	if (layout->tcp) {
		if (layout->transport + sizeof(struct tcphdr) > length)
			return false;
		header = (data[layout->transport + 12] >> 4) * 4u;
		if (header < sizeof(struct tcphdr))
			return false;
	}
	layout->check = layout->transport +
			(layout->tcp ? offsetof(struct tcphdr, th_sum)
				     : offsetof(struct udphdr, uh_sum));
	layout->payload = layout->transport + header;
	return layout->payload < length && layout->payload <= HEADERS_MAX;
}

static bool
find_layout(struct layout *layout, const struct virtio_net_hdr *header,
	    const unsigned char *data, size_t length)
{
	layout->transport = header->csum_start;
	layout->size = header->gso_size;
	return (header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0 &&
	       layout->size > 0 && layout->transport < length &&
	       find_protocol(layout, header->gso_type) &&
	       find_network(layout, data) && find_payload(layout, data, length);
}

static void
put_number(unsigned char *at, size_t number)
{
	uint16_t ordered = htons((uint16_t)number);

	memcpy(at, &ordered, sizeof(ordered));
}

static void
fix_network(const struct layout *layout, unsigned char *data, size_t length,
	    size_t index)
{
	unsigned char *ip = data + layout->network;
	size_t header = layout->transport - layout->network;
	uint16_t number, sum = 0;

	length -= layout->network;
	if (!layout->ipv4) {
		put_number(ip + offsetof(struct ip6_hdr, ip6_plen),
			   length - sizeof(struct ip6_hdr));
		return;
	}
	put_number(ip + offsetof(struct ip, ip_len), length);
	memcpy(&number, ip + offsetof(struct ip, ip_id), sizeof(number));
	put_number(ip + offsetof(struct ip, ip_id), ntohs(number) + index);
	memcpy(ip + offsetof(struct ip, ip_sum), &sum, sizeof(sum));
	sum = (uint16_t)~inetsum(ip, header);
	memcpy(ip + offsetof(struct ip, ip_sum), &sum, sizeof(sum));
}

static void
fix_tcp(unsigned char *tcp, size_t offset, bool first, bool last)
{
	uint32_t sequence;

	memcpy(&sequence, tcp + offsetof(struct tcphdr, th_seq),
	       sizeof(sequence));
	sequence = htonl(ntohl(sequence) + (uint32_t)offset);
	memcpy(tcp + offsetof(struct tcphdr, th_seq), &sequence,
	       sizeof(sequence));
	if (!first)
		tcp[13] &= 0x7f;	/* CWR */
	if (!last)
		tcp[13] &= 0xf6;	/* FIN, PSH */
}

/*
 * The field has the sum of the pseudo header of the whole; the length in it
 * is the only difference to that of a segment.
 */
static void
fix_check(const struct layout *layout, unsigned char *data, size_t length,
	  size_t whole)
{
	uint16_t sum, more = htons((uint16_t)(length - layout->transport));
	uint16_t less = htons((uint16_t)(whole - layout->transport));

	memcpy(&sum, data + layout->check, sizeof(sum));
	sum = inetsum_add(sum, inetsum_add(more, (uint16_t)~less));
	memcpy(data + layout->check, &sum, sizeof(sum));
	sum = (uint16_t)~inetsum(data + layout->transport,
				 length - layout->transport);
	if (sum == 0)
		sum = 0xffff;
	memcpy(data + layout->check, &sum, sizeof(sum));
}

static PyObject *
build_segment(struct packet *packet, const struct layout *layout,
	      size_t offset)
{
	const unsigned char *whole = packet->bytes;
	size_t whole_length = (size_t)packet->length;
	size_t left = whole_length - layout->payload - offset;
	size_t part = left < layout->size ? left : layout->size;
	size_t length = layout->payload + part;
	PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)length);
	unsigned char *data;
	struct packet *segment;

	if (bytes == NULL)
		return NULL;
	data = (unsigned char *)PyBytes_AsString(bytes);
	memcpy(data, whole, layout->payload);
	memcpy(data + layout->payload, whole + layout->payload + offset, part);
	fix_network(layout, data, length, offset / layout->size);
	if (layout->tcp)
		fix_tcp(data + layout->transport, offset, offset == 0,
			part == left);
	else
		put_number(data + layout->transport +
				   offsetof(struct udphdr, uh_ulen),
			   length - layout->transport);
	fix_check(layout, data, length, whole_length);
	segment = packet_new(Py_TYPE((PyObject *)packet), bytes);
	if (segment == NULL)
		return NULL;
	segment->wire_len = (uint32_t)length;
	segment->timestamp_ns = packet->timestamp_ns;
	segment->ifindex = packet->ifindex;
	segment->direction = packet->direction;
	return (PyObject *)segment;
}

/* A list, or NULL with an exception. */
PyObject *
segment_packet(struct packet *packet)
{
	PyObject *segments;
	struct virtio_net_hdr header;
	struct layout layout;
	size_t length;

	if (segment_size(packet) == 0)
		return Py_BuildValue("[O]", packet);
	vnet_find(packet->ancdata, &header);
	length = (size_t)packet->length;
	if (!find_layout(&layout, &header, packet->bytes, length)) {
		PyErr_SetString(PyExc_ValueError,
				"the header of its ancillary data does not "
				"fit the packet");
		return NULL;
	}
	segments = PyList_New(0);
	for (size_t offset = 0;
	     segments != NULL && offset < length - layout.payload;
	     offset += layout.size) {
		PyObject *segment = build_segment(packet, &layout, offset);

		if (segment == NULL || PyList_Append(segments, segment) < 0)
			Py_CLEAR(segments);
		Py_XDECREF(segment);
	}
	return segments;
}
