/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "device.h"
#include "link.h"
#include "open.h"
#include "policy.h"
#include "privilege.h"

enum {
	SEQUENCE = 1, /* one question at a time: its answer has its number */
	LINK_ROOM = 8192, /* more than the kernel has to say of a tun device */
	IPV6_MTU_MIN = 1280, /* RFC 8200, section 5 */
};

static const char name_template[INTERFACE_SIZE] = "aio%d";

/* As rtnetlink(7) takes them, with one attribute each. */
struct link_message {
	struct nlmsghdr head;
	struct ifinfomsg body;
	struct rtattr attribute;
	uint32_t mtu;
};

struct address_message {
	struct nlmsghdr head;
	struct ifaddrmsg body;
	struct rtattr attribute;
	uint8_t address[ADDRESS_SIZE];
};

static struct ifreq wanted_device(const struct request *request)
{
	const bool named = request->flags & FLAG_INTERFACE;
	const int kind = request->kind == KIND_TUN ? IFF_TUN : IFF_TAP;
	const int queues = request->flags & FLAG_QUEUES ? IFF_MULTI_QUEUE : 0;
	const int headed = request->flags & FLAG_OFFLOAD ? IFF_VNET_HDR : 0;
	const int flags = kind | IFF_NO_PI | queues | headed;
	struct ifreq device = { .ifr_flags = (short)flags };

	memcpy(device.ifr_name, named ? request->interface : name_template,
	       INTERFACE_SIZE);
	return device;
}

/*
 * `made` tells whether it is a new one. That is tried first: a network of his
 * own the caller can make one in without a capability, too, which would be
 * nobody's. The flag for it is the sign of a short.
 */
static MUST_CHECK int attach_device(struct job *job, bool *made)
{
	const unsigned long owner = job->caller->uid;
	struct ifreq there = wanted_device(&job->request);
	struct ifreq fresh = there;

	fresh.ifr_flags = (short)(fresh.ifr_flags | IFF_TUN_EXCL);
	*made = privilege_raise(MAY_ADMIN) == 0 &&
		privilege_lower(ioctl(job->fd, TUNSETIFF, &fresh)) == 0;
	if (*made && ioctl(job->fd, TUNSETOWNER, owner) == 0)
		return 0;
	if (*made || errno != EBUSY)
		return open_fail(job, STAGE_TUN);
	/* The kernel knows whether the one that is there is the caller's. */
	if (ioctl(job->fd, TUNSETIFF, &there) == 0)
		return 0;
	if (errno == EPERM)
		errno = EBUSY;
	return open_fail(job, STAGE_TUN);
}

static MUST_CHECK int find_device(struct job *job, int netlink)
{
	const int kind = IFF_TUN | IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE |
			 IFF_VNET_HDR;
	const struct ifreq wanted = wanted_device(&job->request);
	struct ifreq device;

	if (ioctl(job->fd, TUNGETIFF, &device))
		return open_fail(job, STAGE_VERIFY);
	if ((device.ifr_flags & kind) != wanted.ifr_flags ||
	    (job->request.flags & FLAG_INTERFACE &&
	     strcmp(device.ifr_name, wanted.ifr_name) != 0))
		return reply_fail(&job->reply, STAGE_VERIFY, EPROTO);
	memcpy(job->reply.name, device.ifr_name, INTERFACE_SIZE);
	if (ioctl(netlink, SIOCGIFINDEX, &device))
		return open_fail(job, STAGE_VERIFY);
	job->reply.ifindex = (uint32_t)device.ifr_ifindex;
	return 0;
}

/* The kernel has answered when send(2) returns. The answer's size, or -1. */
static MUST_CHECK ssize_t ask(int netlink, const struct nlmsghdr *message,
			      void *answer, size_t room)
{
	struct sockaddr_nl sender = { 0 };
	socklen_t size = sizeof(sender);
	struct nlmsghdr head;
	ssize_t received;

	if (privilege_raise(MAY_ADMIN) ||
	    privilege_lower((int)send(netlink, message, message->nlmsg_len,
				      0)) < 0)
		return -1;
	received = recvfrom(netlink, answer, room, MSG_DONTWAIT,
			    (struct sockaddr *)&sender, &size);
	if (received < 0)
		return -1;
	errno = EPROTO;
	if ((size_t)received < sizeof(head))
		return -1;
	memcpy(&head, answer, sizeof(head));
	/* Others with CAP_NET_ADMIN can send here, too; 0 is the kernel. */
	return sender.nl_pid == 0 && head.nlmsg_seq == SEQUENCE ? received : -1;
}

static MUST_CHECK int tell(struct job *job, int netlink,
			   const struct nlmsghdr *message)
{
	struct {
		struct nlmsghdr head;
		struct nlmsgerr body; /* what comes behind it is cut off */
	} answer = { 0 };

	if (ask(netlink, message, &answer, sizeof(answer)) < 0)
		return open_fail(job, STAGE_ADDRESS);
	const int error = answer.head.nlmsg_type == NLMSG_ERROR ?
				  -answer.body.error :
				  EPROTO;

	return error ? reply_fail(&job->reply, STAGE_ADDRESS, error) : 0;
}

/*
 * Between TUNSETIFF and TUNSETOWNER a new device was nobody's, and one of
 * several queues anybody could attach to: then there would be another queue.
 */
static MUST_CHECK int check_alone(struct job *job, int netlink)
{
	const uint32_t ifindex = job->reply.ifindex;
	const struct link_message message = {
		.head.nlmsg_len = NLMSG_LENGTH(sizeof(message.body)),
		.head.nlmsg_type = RTM_GETLINK,
		.head.nlmsg_flags = NLM_F_REQUEST,
		.head.nlmsg_seq = SEQUENCE,
		.body.ifi_index = (int)ifindex,
	};
	uint8_t answer[LINK_ROOM];
	ssize_t size;

	if (!(job->request.flags & FLAG_QUEUES))
		return 0;
	size = ask(netlink, &message.head, answer, sizeof(answer));
	if (size < 0)
		return open_fail(job, STAGE_VERIFY);
	if (!link_is_owners_alone(answer, (size_t)size, ifindex,
				  job->caller->uid))
		return reply_fail(&job->reply, STAGE_VERIFY, EPROTO);
	return 0;
}

static MUST_CHECK int set_mtu(struct job *job, int netlink)
{
	const struct link_message message = {
		.head.nlmsg_len = sizeof(message),
		.head.nlmsg_type = RTM_NEWLINK,
		.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK,
		.head.nlmsg_seq = SEQUENCE,
		.body.ifi_index = (int)job->reply.ifindex,
		.attribute.rta_type = IFLA_MTU,
		.attribute.rta_len = RTA_LENGTH(sizeof(message.mtu)),
		.mtu = job->request.mtu,
	};

	if (!(job->request.flags & FLAG_MTU))
		return 0;
	return tell(job, netlink, &message.head);
}

static MUST_CHECK int bring_up(struct job *job, int netlink)
{
	const struct link_message message = {
		.head.nlmsg_len = NLMSG_LENGTH(sizeof(message.body)),
		.head.nlmsg_type = RTM_NEWLINK,
		.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK,
		.head.nlmsg_seq = SEQUENCE,
		.body.ifi_index = (int)job->reply.ifindex,
		.body.ifi_flags = IFF_UP,
		.body.ifi_change = IFF_UP,
	};

	if (!(job->request.flags & FLAG_UP))
		return 0;
	return tell(job, netlink, &message.head);
}

/* The right is asked for by open(2), and by write(2) again. */
static MUST_CHECK int write_zero(int folder, const char *setting)
{
	const int flags = O_WRONLY | O_NOFOLLOW | O_CLOEXEC;
	int written = -1;
	int fd = -1;

	if (privilege_raise(MAY_ADMIN) == 0)
		fd = privilege_lower(openat(folder, setting, flags));
	if (fd < 0)
		return -1;
	if (privilege_raise(MAY_ADMIN) == 0)
		written = privilege_lower((int)write(fd, "0", 1));
	close(fd);
	return written == 1 ? 0 : -1;
}

/* The folder `path` in `parent`, which it closes; -1 leads to -1. */
static MUST_CHECK int descend(int parent, const char *path)
{
	const int flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	const int folder = parent < 0 ? -1 : openat(parent, path, flags);

	if (parent >= 0)
		close(parent);
	return folder;
}

/* The device's settings of IPv6; -1 with ENOENT: it has none. */
static MUST_CHECK int open_settings(const char *name)
{
	/* It is always there, but for a /proc that says nothing. */
	const int net = open("/proc/sys/net", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (net < 0 && errno == ENOENT)
		errno = EIO;
	return descend(descend(net, "ipv6/conf"), name);
}

/*
 * Else whoever holds the device would say where the host's packets go, by
 * advertising a router of IPv6 or by a redirect.
 */
static MUST_CHECK int ignore_routers(struct job *job)
{
	const char *name = job->reply.name;
	int folder, failed;

	/* Folders of no device; the kernel has none of these names. */
	if (strcmp(name, "all") == 0 || strcmp(name, "default") == 0)
		return 0;
	folder = open_settings(name);
	if (folder < 0) /* ENOENT: without IPv6 */
		return errno == ENOENT ? 0 : open_fail(job, STAGE_ADDRESS);
	failed = write_zero(folder, "accept_ra") ||
		 write_zero(folder, "accept_redirects");
	/* In a container. Who has our rights anyway is not kept from it. */
	if (failed && errno == EROFS && job->caller->mode == MODE_PLAIN)
		failed = 0;
	if (failed)
		open_fail(job, STAGE_ADDRESS);
	close(folder);
	return -failed;
}

/*
 * A device loses its IPv6 when its MTU falls below 1280, and has it anew, with
 * routers accepted, when the MTU rises: whoever raises it, and before anybody
 * can say no.  Neither is to happen to the device of somebody who is not the
 * network's master.
 */
static MUST_CHECK int check_mtu(struct job *job)
{
	const enum mode mode = job->caller->mode;
	/* A broker's root may be without a capability. */
	const bool master = mode == MODE_PLAIN ||
			    (job->caller->uid == 0 && mode != MODE_BROKER) ||
			    job->goes_to_own;
	int folder;

	if (!(job->request.flags & FLAG_MTU) || master)
		return 0;
	if (job->request.mtu < IPV6_MTU_MIN)
		return reply_fail(&job->reply, STAGE_ADDRESS, EPERM);
	folder = open_settings(job->reply.name);
	if (folder < 0 && errno != ENOENT)
		return open_fail(job, STAGE_ADDRESS);
	if (folder < 0 && access("/proc/sys/net/ipv6", F_OK) == 0)
		return reply_fail(&job->reply, STAGE_ADDRESS, EPERM);
	if (folder >= 0)
		close(folder);
	return 0;
}

static MUST_CHECK int add_address(struct job *job, int netlink,
				  const struct tun_address *address)
{
	const bool ipv4 = address->version == 4;
	const size_t size = ipv4 ? 4 : ADDRESS_SIZE;
	struct address_message message = {
		.head.nlmsg_len = (uint32_t)(
			offsetof(struct address_message, address) + size),
		.head.nlmsg_type = RTM_NEWADDR,
		/* Replace: a device that was there may have it already. */
		.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE |
				    NLM_F_REPLACE,
		.head.nlmsg_seq = SEQUENCE,
		.body.ifa_family = ipv4 ? AF_INET : AF_INET6,
		.body.ifa_prefixlen = address->prefix,
		/* Nobody is there yet who could have the same address. */
		.body.ifa_flags = ipv4 ? 0 : IFA_F_NODAD,
		.body.ifa_index = job->reply.ifindex,
		/* The kernel takes a missing IFA_ADDRESS from it. */
		.attribute.rta_type = IFA_LOCAL,
		.attribute.rta_len = (unsigned short)RTA_LENGTH(size),
	};

	memcpy(message.address, address->address, ADDRESS_SIZE);
	return tell(job, netlink, &message.head);
}

static MUST_CHECK int add_addresses(struct job *job, int netlink)
{
	for (size_t i = 0; i < job->request.address_count; i++)
		if (add_address(job, netlink, &job->request.addresses[i]))
			return -1;
	return 0;
}

static MUST_CHECK int keep_device(struct job *job)
{
	if (job->request.flags & FLAG_PERSIST &&
	    ioctl(job->fd, TUNSETPERSIST, 1))
		return open_fail(job, STAGE_TUN);
	return 0;
}

/* To be kept is last: the device would outlive a failure after it. */
static MUST_CHECK int configure(struct job *job, int netlink, bool made)
{
	/* One that is there and stays as it is, is left alone. */
	const bool changes = made || job->request.flags & (FLAG_UP | FLAG_MTU);

	return check_mtu(job) || set_mtu(job, netlink) ||
	       (changes && ignore_routers(job)) ||
	       bring_up(job, netlink) || add_addresses(job, netlink) ||
	       keep_device(job);
}

int impl_tun(struct job *job)
{
	const int type = SOCK_RAW | SOCK_CLOEXEC;
	int netlink = -1;
	bool made;
	int failed;

	/* rtnetlink asks for the right of its socket's maker, too. */
	if (privilege_raise(MAY_ADMIN) == 0)
		netlink = privilege_lower(
			socket(AF_NETLINK, type, NETLINK_ROUTE));
	if (netlink < 0)
		return open_fail(job, STAGE_INTERNAL);
	failed = device_open(job, &policy_tun) || attach_device(job, &made) ||
		 find_device(job, netlink) ||
		 (made && check_alone(job, netlink)) ||
		 configure(job, netlink, made);
	close(netlink);
	return failed;
}
