/* SPDX-License-Identifier: MIT */
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "link.h"

enum { TYPE_MASK = 0x3FFF /* NLA_TYPE_MASK */ };

/* Attributes one behind the other, or what one of them holds. */
struct span {
	const uint8_t *at; /* NULL: there is no such attribute */
	size_t size;
};

static struct span find(struct span in, int type)
{
	struct rtattr head;
	size_t step;

	while (in.size >= sizeof(head)) {
		memcpy(&head, in.at, sizeof(head));
		if (head.rta_len < sizeof(head) || head.rta_len > in.size)
			break;
		if ((head.rta_type & TYPE_MASK) == type)
			return (struct span){ in.at + sizeof(head),
					      head.rta_len - sizeof(head) };
		step = RTA_ALIGN((size_t)head.rta_len);
		/* The last one may lack its padding. */
		if (step > in.size)
			break;
		in.at += step;
		in.size -= step;
	}
	return (struct span){ NULL, 0 };
}

static bool says(struct span in, int type, const void *expected, size_t size)
{
	const struct span found = find(in, type);

	return found.at != NULL && found.size == size &&
	       memcmp(found.at, expected, size) == 0;
}

static bool says_number(struct span in, int type, uint32_t expected)
{
	return says(in, type, &expected, sizeof(expected));
}

static bool says_byte(struct span in, int type, uint8_t expected)
{
	return says(in, type, &expected, sizeof(expected));
}

/* The attributes of the link; none where the message is about another one. */
static struct span open_message(const uint8_t *message, size_t size,
				uint32_t ifindex)
{
	const size_t start = NLMSG_SPACE(sizeof(struct ifinfomsg));
	struct nlmsghdr head;
	struct ifinfomsg body;

	if (size < start)
		return (struct span){ NULL, 0 };
	memcpy(&head, message, sizeof(head));
	memcpy(&body, message + NLMSG_HDRLEN, sizeof(body));
	if (head.nlmsg_len < start || head.nlmsg_len > size ||
	    head.nlmsg_type != RTM_NEWLINK ||
	    (uint32_t)body.ifi_index != ifindex)
		return (struct span){ NULL, 0 };
	return (struct span){ message + start, head.nlmsg_len - start };
}

bool link_is_owners_alone(const uint8_t *message, size_t size,
			  uint32_t ifindex, uid_t owner)
{
	static const char kind[] = "tun";
	const struct span link = open_message(message, size, ifindex);
	const struct span info = find(link, IFLA_LINKINFO);
	const struct span data = find(info, IFLA_INFO_DATA);

	return says(info, IFLA_INFO_KIND, kind, sizeof(kind)) &&
	       says_number(data, IFLA_TUN_OWNER, owner) &&
	       find(data, IFLA_TUN_GROUP).at == NULL &&
	       says_byte(data, IFLA_TUN_PERSIST, 0) &&
	       says_byte(data, IFLA_TUN_MULTI_QUEUE, 1) &&
	       says_number(data, IFLA_TUN_NUM_QUEUES, 1) &&
	       says_number(data, IFLA_TUN_NUM_DISABLED_QUEUES, 0);
}
