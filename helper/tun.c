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

#include "policy.h"
#include "privilege.h"
#include "tun.h"

static const char name_template[] = "aio%d";

static bool is_device(int fd, const struct device *device)
{
	struct stat node;

	return fstat(fd, &node) == 0 && S_ISCHR(node.st_mode) &&
	       node.st_rdev == makedev(device->major, device->minor);
}

int device_open(const char *name, struct reply *reply)
{
	const struct device *device = policy_device(name);

	if (device == NULL)
		return reply_fail(reply, STAGE_DEVICE, ENODEV);
	/* Opening a wrong device could do something already; O_PATH does not. */
	const int node = open(device->path, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (node < 0)
		return reply_fail(reply, STAGE_DEVICE, errno);
	const bool right = is_device(node, device);

	close(node);
	if (!right)
		return reply_fail(reply, STAGE_DEVICE, ENODEV);
	const int fd = open(device->path, O_RDWR | O_NONBLOCK | O_NOCTTY |
						  O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return reply_fail(reply, STAGE_DEVICE, errno);
	if (is_device(fd, device))
		return fd;
	close(fd);
	return reply_fail(reply, STAGE_VERIFY, EIO);
}

static short mode_of(const struct request *request)
{
	return (short)((request->kind == KIND_TUN ? IFF_TUN : IFF_TAP) |
		       IFF_NO_PI |
		       (request_has(request, FLAG_QUEUES) ? IFF_MULTI_QUEUE :
							    0));
}

static struct ifreq device_of(const struct request *request)
{
	struct ifreq device = { .ifr_flags = mode_of(request) };

	if (request_has(request, FLAG_INTERFACE))
		memcpy(device.ifr_name, request->interface, INTERFACE_SIZE);
	else
		memcpy(device.ifr_name, name_template, sizeof(name_template));
	return device;
}

/* A new one only: what is there already is not the caller's. */
static MUST_CHECK int create_device(int fd, const struct request *request,
				    const struct caller *caller)
{
	struct ifreq device = device_of(request);
	const unsigned long owner = caller->uid;

	/* Its value is 0x8000, the sign of a short. */
	device.ifr_flags = (short)(device.ifr_flags | IFF_TUN_EXCL);
	if (privilege_raise(MAY_ADMIN))
		return -1;
	const bool failed = ioctl(fd, TUNSETIFF, &device) ||
			    ioctl(fd, TUNSETOWNER, owner);
	const int error = errno;

	if (privilege_lower())
		return -1;
	errno = error;
	return failed ? -1 : 0;
}

static MUST_CHECK int attach_device(int fd, const struct request *request,
				    const struct caller *caller)
{
	struct ifreq device = device_of(request);

	/* The kernel knows whether a device that is there is the caller's. */
	if (ioctl(fd, TUNSETIFF, &device) == 0)
		return 0;
	if (errno != EPERM)
		return -1;
	return create_device(fd, request, caller);
}

struct address_message {
	struct nlmsghdr head;
	struct ifaddrmsg body;
	unsigned char attributes[2 * RTA_SPACE(ADDRESS_SIZE)];
};

static void put_attribute(struct address_message *message, unsigned short type,
			  const void *value, unsigned short size)
{
	const struct rtattr attribute = {
		.rta_type = type,
		.rta_len = (unsigned short)RTA_LENGTH(size),
	};
	unsigned char *at = message->attributes + message->head.nlmsg_len -
			    NLMSG_LENGTH(sizeof(message->body));

	memcpy(at, &attribute, sizeof(attribute));
	memcpy(at + RTA_LENGTH(0), value, size);
	message->head.nlmsg_len += (uint32_t)RTA_SPACE(size);
}

static MUST_CHECK int talk(int netlink, const struct nlmsghdr *message)
{
	struct {
		struct nlmsghdr head;
		struct nlmsgerr error;
		unsigned char rest[256];
	} answer;
	ssize_t size;

	if (send(netlink, message, message->nlmsg_len, 0) < 0)
		return -1;
	size = recv(netlink, &answer, sizeof(answer), 0);
	if (size < 0)
		return -1;
	if ((size_t)size < sizeof(answer.head) + sizeof(answer.error) ||
	    answer.head.nlmsg_type != NLMSG_ERROR) {
		errno = EPROTO;
		return -1;
	}
	errno = -answer.error.error;
	return answer.error.error == 0 ? 0 : -1;
}

static MUST_CHECK int add_address(int netlink, uint32_t ifindex,
				  const struct tun_address *address)
{
	const bool v4 = address->version == 4;
	const unsigned short size = v4 ? 4 : ADDRESS_SIZE;
	struct address_message message = {
		.head = {
			.nlmsg_len = NLMSG_LENGTH(sizeof(message.body)),
			.nlmsg_type = RTM_NEWADDR,
			/* Replace: an old device may have it already. */
			.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK |
				       NLM_F_CREATE | NLM_F_REPLACE,
		},
		.body = {
			.ifa_family = v4 ? AF_INET : AF_INET6,
			.ifa_prefixlen = address->prefix,
			/* Nobody is there to have the address twice. */
			.ifa_flags = v4 ? 0 : IFA_F_NODAD,
			.ifa_index = ifindex,
		},
	};

	put_attribute(&message, IFA_LOCAL, address->address, size);
	put_attribute(&message, IFA_ADDRESS, address->address, size);
	return talk(netlink, &message.head);
}

static MUST_CHECK int add_addresses(const struct request *request,
				    uint32_t ifindex)
{
	int failed = 0;

	if (request->address_count == 0)
		return 0;
	const int netlink =
		socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (netlink < 0)
		return -1;
	for (size_t i = 0; i < request->address_count && !failed; i++)
		failed = add_address(netlink, ifindex, &request->addresses[i]);
	close(netlink);
	return failed;
}

static MUST_CHECK int set_mtu(int control, const struct request *request,
			      struct ifreq device)
{
	if (!request_has(request, FLAG_MTU))
		return 0;
	device.ifr_mtu = request->mtu;
	return ioctl(control, SIOCSIFMTU, &device);
}

static MUST_CHECK int set_up(int control, const struct request *request,
			     struct ifreq device)
{
	if (!request_has(request, FLAG_UP))
		return 0;
	if (ioctl(control, SIOCGIFFLAGS, &device))
		return -1;
	device.ifr_flags |= IFF_UP;
	return ioctl(control, SIOCSIFFLAGS, &device);
}

/* `device` holds the name. */
static MUST_CHECK int configure(const struct request *request,
				struct ifreq device, struct reply *reply)
{
	const int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool failed;

	if (control < 0)
		return reply_fail(reply, STAGE_ADDRESS, errno);
	failed = ioctl(control, SIOCGIFINDEX, &device) != 0 ||
		 privilege_raise(MAY_ADMIN);
	reply->ifindex = (uint32_t)device.ifr_ifindex;
	failed = failed || set_mtu(control, request, device) ||
		 add_addresses(request, reply->ifindex) ||
		 set_up(control, request, device);
	const int error = errno;

	failed = privilege_lower() || failed;
	close(control);
	return failed ? reply_fail(reply, STAGE_ADDRESS, error) : 0;
}

int impl_tun(int fd, const struct request *request,
	     const struct caller *caller, struct reply *reply)
{
	const int kind = IFF_TUN | IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE;
	struct ifreq device;

	if (attach_device(fd, request, caller))
		return reply_fail(reply, STAGE_TUN, errno);
	if (ioctl(fd, TUNGETIFF, &device))
		return reply_fail(reply, STAGE_VERIFY, errno);
	if ((device.ifr_flags & kind) != mode_of(request) ||
	    (request_has(request, FLAG_INTERFACE) &&
	     strcmp(device.ifr_name, request->interface) != 0))
		return reply_fail(reply, STAGE_VERIFY, EIO);
	if (configure(request, device, reply))
		return -1;
	/* Last: a device that persists outlives a failure. */
	if (request_has(request, FLAG_PERSIST) && ioctl(fd, TUNSETPERSIST, 1))
		return reply_fail(reply, STAGE_TUN, errno);
	memcpy(reply->name, device.ifr_name, INTERFACE_SIZE);
	return 0;
}
