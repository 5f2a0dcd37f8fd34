/* System call filters without a library: from the groups of a role (syscalls.def) and the argument rules below to a program of the kernel's
 * packet filter machine. A verdict for each call number is laid out, equal neighbours are merged, and a binary search over the ranges is
 * assembled: about eight steps for any call, and the kernel remembers the calls that are always allowed. */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/confine_priv.h"

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#define X32_BIT 0x40000000U
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#else
#error "no system call filter for this machine yet: add its AUDIT_ARCH and check syscalls.def"
#endif

enum {
	CALL_NEWEST = 450,	/* newest call that syscalls.def was written with in mind (Linux 6.1); above: ENOSYS */
	PROGRAM_MAX = 2048,
	CHECK_ERRNO = EREMOTEIO,	/* what our filter answers to acct(2): nothing else gives that */
};

enum verdict { V_REFUSE, V_ALLOW, V_KILL, V_NOSYS, V_CHECK, V_NO_FAMILY, V_RULE };

static const struct {
	int nr;
	uint32_t groups;
} calls[] = {
#define CALL(name, groups) { __NR_##name, groups },
#ifdef __x86_64__
#define CALL_X86(name, groups) CALL(name, groups)
#else
#define CALL_X86(name, groups)
#endif
#include "os/syscalls.def"
#undef CALL
#undef CALL_X86
};

/* --- arguments --- */

#define NEW_NAMESPACE (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)
#define CLONE_BAD (NEW_NAMESPACE | CLONE_PARENT | CLONE_PTRACE)
#define OPEN_WRITES (O_ACCMODE | O_CREAT | O_TRUNC | O_APPEND | (O_TMPFILE & ~O_DIRECTORY))

static const uint32_t zero[] = { 0 };
static const uint32_t thread_bit[] = { CLONE_THREAD };
static const uint32_t unix_only[] = { AF_UNIX };
static const uint32_t inet_only[] = { AF_INET, AF_INET6 };
static const uint32_t unix_inet[] = { AF_UNIX, AF_INET, AF_INET6 };
/* F_SETOWN F_SETSIG F_SETOWN_EX F_NOTIFY: signals to others by way of a descriptor. */
static const uint32_t fcntl_bad[] = { 8, 10, 15, 1026 };
/* TCGETS TIOCGWINSZ FIONREAD FIONBIO FIONCLEX FIOCLEX FICLONE FS_IOC_GETFLAGS */
static const uint32_t ioctl_good[] = { 0x5401, 0x5413, 0x541b, 0x5421, 0x5450, 0x5451, 0x40049409, 0x80086601 };
#define PRCTL_PLAIN                                                                                                                            \
	PR_SET_NAME, PR_GET_NAME, PR_SET_DUMPABLE, PR_GET_DUMPABLE, PR_SET_PDEATHSIG, PR_GET_PDEATHSIG, PR_SET_NO_NEW_PRIVS,                   \
		PR_GET_NO_NEW_PRIVS, PR_GET_SECCOMP, PR_CAPBSET_READ, PR_GET_SECUREBITS, PR_SET_TIMERSLACK, 0x53564d41 /* PR_SET_VMA */
static const uint32_t prctl_good[] = { PRCTL_PLAIN };
static const uint32_t prctl_confine[] = { PRCTL_PLAIN, PR_CAPBSET_DROP, PR_CAP_AMBIENT, PR_SET_SECUREBITS, PR_SET_KEEPCAPS };

/* The first row whose needs are met applies: the masked low word of the argument must be one (or none) of the values. All these arguments
 * are ints, or have no defined bit above 31. */
static const struct arg_rule {
	int nr;
	uint32_t need, lack;	/* groups that the role has; has not */
	uint8_t arg;
	bool none_of;
	uint32_t mask;
	const uint32_t *values;
	uint8_t n;
	uint8_t sys;		/* errno of a refusal */
} arg_rules[] = {
#define ONE_OF(v) false, 0xffffffffU, v, ARRAY_LEN(v)
#define NONE_OF(v) true, 0xffffffffU, v, ARRAY_LEN(v)
#define MASKED(m, v) false, m, v, ARRAY_LEN(v)
	{ __NR_openat, 0, FS_WRITE, 2, MASKED(OPEN_WRITES, zero), EACCES },
#ifdef __x86_64__
	{ __NR_open, 0, FS_WRITE, 1, MASKED(OPEN_WRITES, zero), EACCES },
#endif
	{ __NR_mmap, 0, MEM_EXEC, 2, MASKED(PROT_EXEC, zero), EACCES },
	{ __NR_mprotect, 0, MEM_EXEC, 2, MASKED(PROT_EXEC, zero), EACCES },
	{ __NR_clone, FORK | THREADS, 0, 0, MASKED(CLONE_BAD, zero), EPERM },
	{ __NR_clone, FORK, 0, 0, MASKED(CLONE_BAD | CLONE_THREAD, zero), EPERM },
	{ __NR_clone, THREADS, 0, 0, MASKED(CLONE_BAD | CLONE_THREAD, thread_bit), EPERM },
	{ __NR_socket, UNIX_CONNECT | NET_OUT, 0, 0, ONE_OF(unix_inet), EAFNOSUPPORT },
	{ __NR_socket, UNIX_CONNECT, 0, 0, ONE_OF(unix_only), EAFNOSUPPORT },
	{ __NR_socket, NET_OUT, 0, 0, ONE_OF(inet_only), EAFNOSUPPORT },
	{ __NR_fcntl, 0, 0, 1, NONE_OF(fcntl_bad), EPERM },
	{ __NR_ioctl, 0, 0, 1, ONE_OF(ioctl_good), ENOTTY },
	{ __NR_prctl, CONFINE, 0, 0, ONE_OF(prctl_confine), EPERM },
	{ __NR_prctl, 0, 0, 0, ONE_OF(prctl_good), EPERM },
	{ __NR_prlimit64, 0, 0, 0, ONE_OF(zero), EPERM },
};

static int rule_for(int nr, uint32_t groups)
{
	for (size_t i = 0; i < ARRAY_LEN(arg_rules); i++)
		if (arg_rules[i].nr == nr && (groups & arg_rules[i].need) == arg_rules[i].need && !(groups & arg_rules[i].lack))
			return (int)i;
	return -1;
}

/* --- assembler --- */

struct range {
	uint32_t from;
	int verdict;	/* enum verdict, or V_RULE + index of arg_rules */
};

struct program {
	struct sock_filter at[PROGRAM_MAX];
	size_t n;
	struct range ranges[CALL_NEWEST + 3];
	size_t n_ranges;
};

static void emit(struct program *p, uint16_t code, uint8_t jt, uint8_t jf, uint32_t k)
{
	if (p->n < PROGRAM_MAX)
		p->at[p->n] = (struct sock_filter){ code, jt, jf, k };
	p->n++;
}

static void emit_load(struct program *p, size_t offset)
{
	emit(p, BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)offset);
}

static void emit_return(struct program *p, uint32_t value)
{
	emit(p, BPF_RET | BPF_K, 0, 0, value);
}

/* Both machines are little-endian: the low word of an argument comes first. */
static void emit_rule(struct program *p, const struct arg_rule *r)
{
	emit_load(p, offsetof(struct seccomp_data, args) + 8 * (size_t)r->arg);
	if (r->mask != 0xffffffffU)
		emit(p, BPF_ALU | BPF_AND | BPF_K, 0, 0, r->mask);
	for (uint8_t i = 0; i < r->n; i++)	/* a match jumps over the rest and the first return */
		emit(p, BPF_JMP | BPF_JEQ | BPF_K, (uint8_t)(r->n - i), 0, r->values[i]);
	const uint32_t refuse = SECCOMP_RET_ERRNO | r->sys;
	emit_return(p, r->none_of ? SECCOMP_RET_ALLOW : refuse);
	emit_return(p, r->none_of ? refuse : SECCOMP_RET_ALLOW);
}

static void emit_verdict(struct program *p, int verdict)
{
	switch (verdict) {
	case V_ALLOW:
		emit_return(p, SECCOMP_RET_ALLOW);
		break;
	case V_KILL:
		emit_return(p, SECCOMP_RET_KILL_PROCESS);
		break;
	case V_NOSYS:
		emit_return(p, SECCOMP_RET_ERRNO | ENOSYS);
		break;
	case V_NO_FAMILY:
		emit_return(p, SECCOMP_RET_ERRNO | EAFNOSUPPORT);
		break;
	case V_CHECK:
		emit_return(p, SECCOMP_RET_ERRNO | CHECK_ERRNO);
		break;
	case V_REFUSE:
		emit_return(p, SECCOMP_RET_ERRNO | EPERM);
		break;
	default:
		emit_rule(p, &arg_rules[verdict - V_RULE]);
	}
}

/* Binary search over ranges lo..hi; conditional jumps reach 255 steps only, so the far half is entered by a long one. */
static void emit_search(struct program *p, size_t lo, size_t hi)
{
	if (lo == hi) {
		emit_verdict(p, p->ranges[lo].verdict);
		return;
	}
	const size_t mid = lo + (hi - lo + 1) / 2;
	emit(p, BPF_JMP | BPF_JGE | BPF_K, 0, 1, p->ranges[mid].from);
	const size_t jump = p->n;
	emit(p, BPF_JMP | BPF_JA, 0, 0, 0);
	emit_search(p, lo, mid - 1);
	if (jump < PROGRAM_MAX)
		p->at[jump].k = (uint32_t)(p->n - jump - 1);
	emit_search(p, mid, hi);
}

static void verdicts_fill(int verdicts[CALL_NEWEST + 1], uint32_t groups, uint32_t kill_groups)
{
	for (int i = 0; i <= CALL_NEWEST; i++)
		verdicts[i] = V_REFUSE;
	/* Their arguments are in memory that a filter cannot see; the C library falls back to clone and openat. */
	verdicts[__NR_clone3] = V_NOSYS;
	verdicts[__NR_openat2] = V_NOSYS;
	verdicts[__NR_acct] = V_CHECK;
	/* As from a kernel without that family: libraries then go on (PAM's audit messages; any other errno fails the login, measured). */
	verdicts[__NR_socket] = V_NO_FAMILY;
	for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
		const int rule = rule_for(calls[i].nr, groups);
		if (calls[i].groups & groups)
			verdicts[calls[i].nr] = rule < 0 ? V_ALLOW : V_RULE + rule;
		else if (calls[i].groups & kill_groups)
			verdicts[calls[i].nr] = V_KILL;
	}
}

static void build(struct program *p, uint32_t groups, uint32_t kill_groups)
{
	int verdicts[CALL_NEWEST + 1];
	verdicts_fill(verdicts, groups, kill_groups);
	for (uint32_t i = 0; i <= CALL_NEWEST; i++)
		if (i == 0 || verdicts[i] != verdicts[i - 1])
			p->ranges[p->n_ranges++] = (struct range){ i, verdicts[i] };
	p->ranges[p->n_ranges++] = (struct range){ CALL_NEWEST + 1, V_NOSYS };
	emit_load(p, offsetof(struct seccomp_data, arch));
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, ARCH);
	emit_return(p, SECCOMP_RET_KILL_PROCESS);
	emit_load(p, offsetof(struct seccomp_data, nr));
#ifdef X32_BIT
	emit(p, BPF_JMP | BPF_JGE | BPF_K, 0, 1, X32_BIT);
	emit_return(p, SECCOMP_RET_KILL_PROCESS);
#endif
	emit_search(p, 0, p->n_ranges - 1);
}

static int install(struct program *p, struct err *e)
{
	if (p->n > PROGRAM_MAX)
		return err_set(e, ERR_BUG, 0, "system call filter has %zu steps", p->n);
	const struct sock_fprog prog = { .len = (unsigned short)p->n, .filter = p->at };
	if (syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) < 0)
		return err_set(e, ERR_BUG, errno, "system call filter");
	return 0;
}

int seccomp_enter(uint32_t groups, uint32_t kill_groups, struct err *e)
{
	struct program p = { .n = 0 };
	build(&p, groups, kill_groups | NEVER);
	return install(&p, e);
}

/* A filter on top of one that is in force has to name only the calls that it takes away, or leaves; arguments and the machine are watched already. So it is
 * short, and made in half the time or less. */
static int add_short(uint32_t groups, uint32_t named, uint32_t others, struct err *e)
{
	struct program p = { .n = 0 };
	uint8_t left = 0;
	for (size_t i = 0; i < ARRAY_LEN(calls); i++)
		if (calls[i].groups & groups)
			left++;
	emit_load(&p, offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < ARRAY_LEN(calls); i++)
		if (calls[i].groups & groups)	/* a match jumps over the rest and the first return */
			emit(&p, BPF_JMP | BPF_JEQ | BPF_K, left--, 0, (uint32_t)calls[i].nr);
	emit_return(&p, others);
	emit_return(&p, named);
	return install(&p, e);
}

int seccomp_refuse(uint32_t groups, struct err *e)
{
	return add_short(groups, SECCOMP_RET_ERRNO | EPERM, SECCOMP_RET_ALLOW, e);
}

int seccomp_only(uint32_t groups, struct err *e)
{
	return add_short(groups, SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO | EPERM, e);
}

int seccomp_check(struct err *e)
{
	if (syscall(__NR_acct, NULL) == -1 && errno == CHECK_ERRNO)
		return 0;
	return err_set(e, ERR_BUG, 0, "the system call filter is not in force");
}
