/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "open.h"
#include "policy.h"
#include "privilege.h"

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

static bool is_node(const struct stat *node, const struct device *device)
{
	return S_ISCHR(node->st_mode) &&
	       node->st_rdev == makedev(device->major, device->minor);
}

/* With the caller's own rights to the file. */
static MUST_CHECK int open_node(struct job *job, const char *name)
{
	const int flags = O_RDWR | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW |
			  O_CLOEXEC;
	const struct device *device = policy_device(name);
	struct stat node;

	if (device == NULL)
		return reply_fail(&job->reply, STAGE_DEVICE, ENODEV);
	/* Before, too: to open a wrong device could do something. */
	if (lstat(device->path, &node))
		return open_fail(job, STAGE_DEVICE);
	if (!is_node(&node, device))
		return reply_fail(&job->reply, STAGE_DEVICE, ENODEV);
	job->fd = open(device->path, flags);
	if (job->fd < 0)
		return open_fail(job, STAGE_DEVICE);
	if (fstat(job->fd, &node) || !is_node(&node, device))
		return reply_fail(&job->reply, STAGE_VERIFY, EPROTO);
	return 0;
}

static struct ifreq wanted_device(const struct request *request)
{
	const bool named = request->flags & FLAG_INTERFACE;
	const int kind = request->kind == KIND_TUN ? IFF_TUN : IFF_TAP;
	const int more = request->flags & FLAG_QUEUES ? IFF_MULTI_QUEUE : 0;
	struct ifreq device = { .ifr_flags = (short)(kind | IFF_NO_PI | more) };

	memcpy(device.ifr_name, named ? request->interface : name_template,
	       INTERFACE_SIZE);
	return device;
}

static MUST_CHECK int attach_device(struct job *job)
{
	struct ifreq device = wanted_device(&job->request);
	const unsigned long owner = job->caller->uid;

	/* The kernel knows whether a device that is there is the caller's. */
	if (ioctl(job->fd, TUNSETIFF, &device) == 0)
		return 0;
	if (errno != EPERM)
		return open_fail(job, STAGE_TUN);
	/* With privilege a new one only; its flag is the sign of a short. */
	device.ifr_flags = (short)(device.ifr_flags | IFF_TUN_EXCL);
	if (privilege_raise(MAY_ADMIN) ||
	    privilege_lower(ioctl(job->fd, TUNSETIFF, &device)) ||
	    ioctl(job->fd, TUNSETOWNER, owner))
		return open_fail(job, STAGE_TUN);
	return 0;
}

static MUST_CHECK int find_device(struct job *job, int netlink)
{
	const int kind = IFF_TUN | IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE;
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

/* The kernel has done it, or refused, when send(2) returns. */
static MUST_CHECK int tell(struct job *job, int netlink,
			   const struct nlmsghdr *message)
{
	struct {
		struct nlmsghdr head;
		struct nlmsgerr body; /* what comes behind it is cut off */
	} answer = { 0 };

	if (privilege_raise(MAY_ADMIN) ||
	    privilege_lower((int)send(netlink, message, message->nlmsg_len,
				      0)) < 0 ||
	    recv(netlink, &answer, sizeof(answer), MSG_DONTWAIT) < 0)
		return open_fail(job, STAGE_ADDRESS);
	const int error = answer.head.nlmsg_type == NLMSG_ERROR ?
				  -answer.body.error :
				  EPROTO;

	return error ? reply_fail(&job->reply, STAGE_ADDRESS, error) : 0;
}

static MUST_CHECK int set_link(struct job *job, int netlink)
{
	const bool mtu = job->request.flags & FLAG_MTU;
	const unsigned int up = job->request.flags & FLAG_UP ? IFF_UP : 0;
	const struct link_message message = {
		.head.nlmsg_len = mtu ? sizeof(message) :
					NLMSG_LENGTH(sizeof(message.body)),
		.head.nlmsg_type = RTM_NEWLINK,
		.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK,
		.body.ifi_index = (int)job->reply.ifindex,
		.body.ifi_flags = up,
		.body.ifi_change = up,
		.attribute.rta_type = IFLA_MTU,
		.attribute.rta_len = RTA_LENGTH(sizeof(message.mtu)),
		.mtu = job->request.mtu,
	};

	return mtu || up ? tell(job, netlink, &message.head) : 0;
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

int impl_device(struct job *job)
{
	return open_node(job, job->request.device);
}

int impl_tun(struct job *job)
{
	const int type = SOCK_RAW | SOCK_CLOEXEC;
	int netlink = -1;
	int failed;

	/* rtnetlink asks for the right of its socket's maker, too. */
	if (privilege_raise(MAY_ADMIN) == 0)
		netlink = privilege_lower(
			socket(AF_NETLINK, type, NETLINK_ROUTE));
	if (netlink < 0)
		return open_fail(job, STAGE_INTERNAL);
	/* To be kept is last: the device would outlive a failure after it. */
	failed = open_node(job, "net/tun") || attach_device(job) ||
		 find_device(job, netlink) || set_link(job, netlink) ||
		 add_addresses(job, netlink) || keep_device(job);
	close(netlink);
	return failed;
}
