/* SPDX-License-Identifier: MIT */
/*
 * Control messages (cmsg(3)) that came with a packet: what a Packet has a
 * field for is read into it, all else is kept as it is.
 */
#include "control.h"

#include "scratch.h"

#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

/*
 * asm-generic/socket.h.  SO_TIMESTAMPNS names one or the other, depending on
 * the width of time_t; which of them arrives is up to who set the option.
 */
enum { TIMESTAMPNS_OLD = 35, TIMESTAMPNS_NEW = 64 };

static size_t
payload_length(const struct cmsghdr *item)
{
	return item->cmsg_len - CMSG_LEN(0);
}

/* Copies: the kernel aligns payloads for size_t, not for what is in them. */
static bool
read_payload(struct cmsghdr *item, void *target, size_t length)
{
	if (payload_length(item) < length)
		return false;
	memcpy(target, CMSG_DATA(item), length);
	return true;
}

static bool
read_timestamp(struct cmsghdr *item, struct packet *packet)
{
	const int64_t second = 1000000000;
	long native[2];
	int64_t wide[2];

	if (item->cmsg_type == TIMESTAMPNS_NEW) {
		if (!read_payload(item, wide, sizeof(wide)))
			return false;
		packet->timestamp_ns = wide[0] * second + wide[1];
		return true;
	}
	if (!read_payload(item, native, sizeof(native)))
		return false;
	packet->timestamp_ns = native[0] * second + native[1];
	return true;
}

/* A tag that the kernel took out of the frame, if it did. */
void
control_read_vlan(struct packet *packet, uint32_t status, uint16_t tci,
		  uint16_t tpid)
{
	if ((status & TP_STATUS_VLAN_VALID) == 0)
		return;
	packet->vlan_tci = tci;
	packet->vlan_tpid = (status & TP_STATUS_VLAN_TPID_VALID) ? tpid
								 : ETH_P_8021Q;
}

static bool
read_auxdata(struct cmsghdr *item, struct packet *packet)
{
	struct tpacket_auxdata aux;

	if (!read_payload(item, &aux, sizeof(aux)))
		return false;
	/* Unlike MSG_TRUNC's length, it counts what a filter cut off, too. */
	if (aux.tp_len > packet->wire_len)
		packet->wire_len = aux.tp_len;
	control_read_vlan(packet, aux.tp_status, aux.tp_vlan_tci,
			  aux.tp_vlan_tpid);
	return true;
}

static bool
read_overflow(struct cmsghdr *item, struct overflow *overflow)
{
	overflow->seen = read_payload(item, &overflow->total,
				      sizeof(overflow->total));
	return overflow->seen;
}

/* Read on the side; the message stays in ancdata for the address in it. */
static void
read_pktinfo(struct cmsghdr *item, struct packet *packet)
{
	struct in_pktinfo inet;
	struct in6_pktinfo inet6;

	if (item->cmsg_level == IPPROTO_IP && item->cmsg_type == IP_PKTINFO &&
	    read_payload(item, &inet, sizeof(inet)))
		packet->ifindex = inet.ipi_ifindex;
	if (item->cmsg_level == IPPROTO_IPV6 &&
	    item->cmsg_type == IPV6_PKTINFO &&
	    read_payload(item, &inet6, sizeof(inet6)))
		packet->ifindex = (int)inet6.ipi6_ifindex;
}

/* Whether a field of packet, or overflow, took all there is in the message. */
static bool
consume(struct cmsghdr *item, struct packet *packet, struct overflow *overflow)
{
	if (item->cmsg_level == SOL_SOCKET) {
		switch (item->cmsg_type) {
		case TIMESTAMPNS_OLD:
		case TIMESTAMPNS_NEW:
			return read_timestamp(item, packet);
		case SO_RXQ_OVFL:
			return read_overflow(item, overflow);
		default:
			return false;
		}
	}
	if (item->cmsg_level == SOL_PACKET && item->cmsg_type == PACKET_AUXDATA)
		return read_auxdata(item, packet);
	read_pktinfo(item, packet);
	return false;
}

/* Appends (level, type, bytes) to *list, which is made when first needed. */
static int
keep(struct cmsghdr *item, PyObject **list)
{
	PyObject *entry;
	int failed;

	if (*list == NULL)
		*list = PyList_New(0);
	if (*list == NULL)
		return -1;
	entry = Py_BuildValue("(iiy#)", item->cmsg_level, item->cmsg_type,
			      (const char *)CMSG_DATA(item),
			      (Py_ssize_t)payload_length(item));
	if (entry == NULL)
		return -1;
	failed = PyList_Append(*list, entry);
	Py_DECREF(entry);
	return failed;
}

static PyObject *
build_ancdata(struct cmsghdr *item)
{
	PyObject *list = NULL, *ancdata = NULL;

	if (keep(item, &list) == 0)
		ancdata = PyList_AsTuple(list);
	Py_XDECREF(list);
	return ancdata;
}

/* Of a packet with one message: a time to live, say. */
static PyObject *
find_ancdata(struct cmsghdr *item, struct last_ancdata *last)
{
	if (item->cmsg_len > sizeof(last->message) ||
	    (item->cmsg_level == SOL_SOCKET && item->cmsg_type == SCM_RIGHTS))
		return build_ancdata(item);
	/* The length is part of what is compared. */
	if (last->ancdata == NULL ||
	    memcmp(last->message, item, item->cmsg_len) != 0) {
		Py_XDECREF(last->ancdata);
		last->ancdata = build_ancdata(item);
		memcpy(last->message, item, item->cmsg_len);
	}
	Py_XINCREF(last->ancdata);
	return last->ancdata;
}

/* 0, or -1 with an exception set; descriptors in it are still open then. */
int
control_read(struct msghdr *message, struct packet *packet,
	     struct overflow *overflow, struct last_ancdata *last)
{
	struct cmsghdr *first = NULL;
	PyObject *list = NULL;
	int failed = 0;

	for (struct cmsghdr *item = CMSG_FIRSTHDR(message);
	     item != NULL && failed == 0; item = CMSG_NXTHDR(message, item)) {
		if (consume(item, packet, overflow))
			continue;
		if (first == NULL) {
			first = item;
			continue;
		}
		if (list == NULL)
			failed = keep(first, &list);
		if (failed == 0)
			failed = keep(item, &list);
	}
	if (failed == 0 && first != NULL) {
		packet->ancdata = list != NULL ? PyList_AsTuple(list)
					       : find_ancdata(first, last);
		failed = packet->ancdata == NULL ? -1 : 0;
	}
	Py_XDECREF(list);
	return failed;
}

/*
 * For who will not see the messages: what there was of a packet, if they say
 * that it was more than wire_len, and the overflow.
 */
size_t
control_skim(struct msghdr *message, size_t wire_len, struct overflow *overflow)
{
	struct tpacket_auxdata aux;

	for (struct cmsghdr *item = CMSG_FIRSTHDR(message); item != NULL;
	     item = CMSG_NXTHDR(message, item)) {
		if (item->cmsg_level == SOL_SOCKET &&
		    item->cmsg_type == SO_RXQ_OVFL)
			read_overflow(item, overflow);
		if (item->cmsg_level == SOL_PACKET &&
		    item->cmsg_type == PACKET_AUXDATA &&
		    read_payload(item, &aux, sizeof(aux)) &&
		    aux.tp_len > wire_len)
			wire_len = aux.tp_len;
	}
	return wire_len;
}

/* The messages that recvmsg(2) would have brought of a frame in a ring. */
void
control_write(struct msghdr *message, const struct tpacket2_hdr *header)
{
	struct tpacket_auxdata aux = {
		.tp_status = header->tp_status,
		.tp_len = header->tp_len,
		.tp_vlan_tci = header->tp_vlan_tci,
		.tp_vlan_tpid = header->tp_vlan_tpid,
	};
	int64_t time[2] = {header->tp_sec, header->tp_nsec};
	struct cmsghdr *item = message->msg_control;

	message->msg_controllen =
		CMSG_SPACE(sizeof(time)) + CMSG_SPACE(sizeof(aux));
	item->cmsg_level = SOL_SOCKET;
	item->cmsg_type = TIMESTAMPNS_NEW;
	item->cmsg_len = CMSG_LEN(sizeof(time));
	memcpy(CMSG_DATA(item), time, sizeof(time));
	item = (struct cmsghdr *)((unsigned char *)item +
				  CMSG_SPACE(sizeof(time)));
	item->cmsg_level = SOL_PACKET;
	item->cmsg_type = PACKET_AUXDATA;
	item->cmsg_len = CMSG_LEN(sizeof(aux));
	memcpy(CMSG_DATA(item), &aux, sizeof(aux));
}

/* The message that IP_RECVTTL would have brought, unless it did. */
void
control_write_ttl(struct msghdr *message, uint8_t ttl)
{
	const int value = ttl;
	size_t used = message->msg_controllen;
	struct cmsghdr *item;

	for (item = CMSG_FIRSTHDR(message); item != NULL;
	     item = CMSG_NXTHDR(message, item)) {
		if (item->cmsg_level == IPPROTO_IP && item->cmsg_type == IP_TTL)
			return;
	}
	if (message->msg_control == NULL ||
	    used + CMSG_SPACE(sizeof(value)) > SCRATCH_CONTROL)
		return;
	item = (struct cmsghdr *)((unsigned char *)message->msg_control + used);
	item->cmsg_level = IPPROTO_IP;
	item->cmsg_type = IP_TTL;
	item->cmsg_len = CMSG_LEN(sizeof(value));
	memcpy(CMSG_DATA(item), &value, sizeof(value));
	message->msg_controllen = used + CMSG_SPACE(sizeof(value));
}

/*
 * Descriptors are in our table since the kernel wrote the message, whether
 * or not anybody gets to see it (unix(7), SCM_RIGHTS).
 */
void
control_close_descriptors(struct msghdr *message)
{
	for (struct cmsghdr *item = CMSG_FIRSTHDR(message); item != NULL;
	     item = CMSG_NXTHDR(message, item)) {
		if (item->cmsg_level != SOL_SOCKET ||
		    item->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t at = 0; at + sizeof(int) <= payload_length(item);
		     at += sizeof(int)) {
			int fd;

			memcpy(&fd, CMSG_DATA(item) + at, sizeof(fd));
			close(fd);
		}
	}
}
