/* SPDX-License-Identifier: MIT */
/*
 * The socket that a broker listens at: made, or taken over, and how safe it
 * is.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "broker.h"
#include "broker_parts.h"
#include "privilege.h"

enum {
	PASSED = 3, /* sd_listen_fds(3): the first */
	WAITING_MAX = 128,
};

static bool is_safe(const struct stat *file)
{
	return file->st_uid == 0 || file->st_uid == geteuid();
}

/* `writable`: whether others can put something there. */
static bool is_safe_folder(const char *path, bool *writable)
{
	struct stat folder;

	/* A link would lead on by folders that nobody has looked at. */
	if (lstat(path, &folder) || !S_ISDIR(folder.st_mode))
		return false;
	*writable = (folder.st_mode & (S_IWGRP | S_IWOTH)) != 0;
	/* With the sticky bit nobody can take away what is not his. */
	return is_safe(&folder) && (!*writable || folder.st_mode & S_ISVTX);
}

/* All of them from the root on, and the last one is nobody else's. */
static bool is_safe_way(const char *path)
{
	char folder[sizeof(((struct sockaddr_un *)NULL)->sun_path)] = "/";
	bool writable = true;

	for (const char *at = path; at != NULL; at = strchr(at + 1, '/')) {
		const size_t length = (size_t)(at - path);

		memcpy(folder, path, length);
		folder[length > 0 ? length : 1] = '\0';
		if (!is_safe_folder(folder, &writable))
			return false;
	}
	return !writable;
}

/* Whether nobody else can put another socket there, and who can connect. */
static MUST_CHECK int look_at_file(const struct sockaddr_un *address,
				   struct caller *caller)
{
	char path[sizeof(address->sun_path) + 1] = "";
	struct stat file;

	memcpy(path, address->sun_path, sizeof(address->sun_path));
	/* Of an abstract name, which is everybody's, nothing is known. */
	if (path[0] != '/' || lstat(path, &file))
		return -1;
	caller->file_safe = S_ISSOCK(file.st_mode) && is_safe(&file) &&
			    is_safe_way(path);
	caller->file_for_all = (file.st_mode & S_IWOTH) != 0;
	return 0;
}

/* A broker that ended badly leaves its socket, to which nobody listens. */
static void remove_leftover(const struct sockaddr_un *address)
{
	const int type = SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK;
	const int probe = socket(AF_UNIX, type, 0);
	struct stat file;

	if (probe >= 0 && lstat(address->sun_path, &file) == 0 &&
	    S_ISSOCK(file.st_mode) && file.st_uid == geteuid() &&
	    connect(probe, (const struct sockaddr *)address,
		    sizeof(*address)) < 0 &&
	    errno == ECONNREFUSED)
		unlink(address->sun_path);
	if (probe >= 0)
		close(probe);
}

static MUST_CHECK int listen_at(const char *path)
{
	const int type = SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const size_t length = strlen(path);
	int listener;
	mode_t mask;

	if (path[0] != '/' || length >= sizeof(address.sun_path)) {
		errno = EINVAL;
		return broker_complain("the socket's path is not absolute, or "
				       "longer than 107 bytes");
	}
	memcpy(address.sun_path, path, length);
	remove_leftover(&address);
	listener = socket(AF_UNIX, type, 0);
	if (listener < 0)
		return broker_complain("no socket");
	/* Its group, and nobody else, may connect. */
	mask = umask(S_IXUSR | S_IXGRP | S_IRWXO);
	if (bind(listener, (const struct sockaddr *)&address, sizeof(address)))
		return broker_complain("cannot make the socket");
	umask(mask);
	if (listen(listener, WAITING_MAX) ||
	    dup2(listener, BROKER_LISTENER) < 0)
		return broker_complain("cannot listen");
	return 0;
}

static bool has(int fd, int option, int expected)
{
	int value;
	socklen_t size = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, option, &value, &size) == 0 &&
	       value == expected;
}

static bool says(const char *variable, uint32_t number)
{
	char digits[BROKER_DIGITS];
	const char *text = getenv(variable);

	return text != NULL &&
	       strcmp(text, broker_write_number(digits, number)) == 0;
}

static MUST_CHECK int take_passed(void)
{
	errno = EINVAL;
	if (!says("LISTEN_PID", (uint32_t)getpid()) || !says("LISTEN_FDS", 1))
		return broker_complain("no path, and not one socket from the "
				       "service manager (sd_listen_fds(3))");
	if (!has(PASSED, SO_DOMAIN, AF_UNIX) ||
	    !has(PASSED, SO_TYPE, SOCK_SEQPACKET) ||
	    !has(PASSED, SO_ACCEPTCONN, 1))
		return broker_complain("the service manager's socket is none "
				       "of ListenSequentialPacket=");
	if (dup2(PASSED, BROKER_LISTENER) < 0 ||
	    fcntl(BROKER_LISTENER, F_SETFL, O_RDWR | O_NONBLOCK))
		return broker_complain("cannot take the passed socket");
	return 0;
}

/* Only who has its rights anyway can start one. */
static bool is_plain(void)
{
	return getuid() == geteuid() && getgid() == getegid() &&
	       !getauxval(AT_SECURE) && getenv("SUDO_UID") == NULL;
}

/* On a standard error of its starter's, whose own rights may decide. */
static int refuse_starter(void)
{
	const struct caller starter = { .uid = getuid(), .gid = getgid() };

	if (privilege_drop(&starter))
		return -1;
	errno = EPERM;
	return broker_complain("a broker is root's to start, without sudo");
}

int broker_listen(const char *path)
{
	if (!is_plain())
		return refuse_starter();
	return path != NULL ? listen_at(path) : take_passed();
}

int broker_look_at_socket(struct caller *caller)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	socklen_t size = sizeof(address);

	if (getsockname(BROKER_LISTENER, (struct sockaddr *)&address, &size) ||
	    look_at_file(&address, caller))
		return broker_complain("nothing is known of the socket's file");
	return 0;
}
