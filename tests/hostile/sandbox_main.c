/*
 * System calls by name, one a line of standard input: NAME ARGUMENT...
 * "judge" prints what the helper's filter says of each, by a small
 * interpreter; "live" enters the helper's sandbox, makes the first call and
 * prints what came of it. "files" opens each path of standard input in the
 * sandbox of files, for reading or, behind a '>', for writing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sandbox.c" /* for what is static in it */

enum { ARGUMENTS = 6, X32 = 0x40000000 };

static const struct {
	const char *name;
	long number;
} calls[] = {
#define NAME(name) { #name, SYS_##name }
	NAME(accept4), NAME(bind), NAME(bpf), NAME(brk), NAME(capget),
	NAME(capset), NAME(clock_nanosleep), NAME(clone), NAME(clone3),
	NAME(close), NAME(connect), NAME(dup), NAME(execve), NAME(execveat),
	NAME(faccessat),
	NAME(exit_group), NAME(fcntl), NAME(finit_module), NAME(fstatfs),
	NAME(getsockopt), NAME(io_uring_setup), NAME(ioctl), NAME(keyctl),
	NAME(kill), NAME(listen), NAME(membarrier), NAME(memfd_create),
	NAME(mmap), NAME(mount), NAME(mprotect), NAME(newfstatat),
	NAME(open_by_handle_at), NAME(openat), NAME(openat2),
	NAME(perf_event_open), NAME(pidfd_getfd), NAME(pidfd_open), NAME(prctl),
	NAME(process_vm_readv), NAME(ptrace), NAME(read), NAME(reboot),
	NAME(recvfrom), NAME(recvmsg), NAME(restart_syscall), NAME(seccomp),
	NAME(sendmsg), NAME(sendto), NAME(setns), NAME(setresuid),
	NAME(setsockopt), NAME(setuid), NAME(shmget), NAME(socket),
	NAME(socketpair), NAME(symlinkat), NAME(syslog), NAME(tgkill),
	NAME(unlinkat), NAME(unshare), NAME(userfaultfd), NAME(wait4),
	NAME(write),
#ifdef SYS_open
	NAME(open), NAME(fork), NAME(vfork), NAME(iopl), NAME(modify_ldt),
	{ "x32_sendmsg", X32 + SYS_sendmsg },
#endif
	{ "no_such_call", 9999 },
#undef NAME
};

struct line {
	long number;
	uint64_t arguments[ARGUMENTS];
};

static long find(const char *name)
{
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		if (strcmp(calls[i].name, name) == 0)
			return calls[i].number;
	fprintf(stderr, "unknown call: %s\n", name);
	exit(2);
}

static bool read_line(struct line *line)
{
	char text[256];
	char *rest = NULL;

	*line = (struct line){ 0 };
	if (fgets(text, sizeof(text), stdin) == NULL)
		return false;
	text[strcspn(text, "\n")] = '\0';
	line->number = find(strtok_r(text, " ", &rest));
	for (int i = 0; i < ARGUMENTS; i++) {
		const char *word = strtok_r(NULL, " ", &rest);

		if (word != NULL)
			line->arguments[i] = strtoull(word, NULL, 0);
	}
	return true;
}

#ifdef ARCHITECTURE
static uint32_t run(const struct program *program, const struct seccomp_data *data)
{
	uint32_t a = 0, x = 0;

	for (size_t i = 0; i < program->count; i++) {
		const struct sock_filter *code = &program->code[i];
		bool yes = false;

		switch (code->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			memcpy(&a, (const char *)data + code->k, sizeof(a));
			continue;
		case BPF_MISC | BPF_TAX:
			x = a;
			continue;
		case BPF_MISC | BPF_TXA:
			a = x;
			continue;
		case BPF_ALU | BPF_AND | BPF_K:
			a &= code->k;
			continue;
		case BPF_RET | BPF_K:
			return code->k;
		case BPF_JMP | BPF_JEQ | BPF_K:
			yes = a == code->k;
			break;
		case BPF_JMP | BPF_JGT | BPF_K:
			yes = a > code->k;
			break;
		case BPF_JMP | BPF_JSET | BPF_K:
			yes = (a & code->k) != 0;
			break;
		default:
			fprintf(stderr, "unknown instruction: %#x\n", code->code);
			exit(2);
		}
		i += yes ? code->jt : code->jf;
	}
	fprintf(stderr, "the program has no end\n");
	exit(2);
}

static int judge(uint32_t architecture)
{
	struct program program = { 0 };
	struct line line;

	put_together(SANDBOX_SESSION, &program);
	while (read_line(&line)) {
		struct seccomp_data data = {
			.nr = (int)line.number,
			.arch = architecture,
		};

		memcpy(data.args, line.arguments, sizeof(data.args));
		puts(run(&program, &data) == SECCOMP_RET_ALLOW ? "allowed" : "killed");
	}
	return 0;
}
#endif

static int live(bool by_another_door)
{
	struct line line;
	uint16_t state = 0;
	const uint64_t *a = line.arguments;
	long result;

	if (!read_line(&line) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    sandbox_calls(SANDBOX_SESSION, &state) || !(state & STATE_SECCOMP))
		return 3;
#ifdef __x86_64__
	if (by_another_door)
		/* Of the 32-bit machine: number 20 is getpid(2) there. */
		__asm__ volatile("int $0x80" : "=a"(result) : "a"(20L) : "memory");
	else
#endif
		result = syscall(line.number, a[0], a[1], a[2], a[3], a[4], a[5]);
	(void)by_another_door;
	_exit(result == -1 ? 10 : 11);
}

static int files(void)
{
	static const struct policy none;
	uint16_t state = 0;
	char text[256];

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || sandbox_files(&none, &state))
		return 3;
	if (!(state & STATE_LANDLOCK))
		return 4;
	while (fgets(text, sizeof(text), stdin) != NULL) {
		const bool writes = text[0] == '>';
		int fd;

		text[strcspn(text, "\n")] = '\0';
		fd = open(text + writes, (writes ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
		puts(fd < 0 ? strerror(errno) : "opened");
		if (fd >= 0)
			close(fd);
	}
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc == 2 ? argv[1] : "";

#ifdef ARCHITECTURE
	if (strcmp(what, "judge") == 0)
		return judge(ARCHITECTURE);
	if (strcmp(what, "judge-foreign") == 0)
		return judge(AUDIT_ARCH_I386);
#endif
	if (strcmp(what, "live") == 0)
		return live(false);
	if (strcmp(what, "live-foreign") == 0)
		return live(true);
	return strcmp(what, "files") == 0 ? files() : 2;
}
