/* What the delivery agent reads and runs for a user: forward files and lists, the plan of a message, what a command's end means, files and commands themselves. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "deliver/local/deliver_priv.h"
#include "ipc/deliver.h"
#include "os/os.h"
#include "test/tap.h"

static char dir[64];

static void forward_files(void)
{
	static const struct {
		const char *text, *want;
	} t[] = {
		{ "", "" },
		{ "a@x, b@y\n", "address a@x|address b@y|" },
		{ "# comment\n\n  \\joe \n<c@z>", "plain joe|address c@z|" },
		{ "\"|/usr/bin/vacation joe, x\"", "command /usr/bin/vacation joe, x|" },
		{ "|cmd a\n/var/mail/x\n~/Mail/y\n:include:/list", "command cmd a|file /var/mail/x|address ~/Mail/y|include /list|" },
		{ "Joe Doe <joe@x> (the boss)\n", "address joe@x|" },
		{ "\"a b\"@x", "address \"a b\"@x|" },
		{ "a b@x", "!" },
		{ "a\001@x", "!" },
		{ "\"open\n", "!" },
		{ "a@x,\n,b@y", "address a@x|address b@y|" },
	};

	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		struct arena *a = arena_new(0);
		struct forward f = { 0 };
		struct err e = { 0 };
		struct buf got;

		buf_init(&got, 4096);
		if (forward_parse(str_c(t[i].text), a, &f, &e) < 0)
			buf_c(&got, "!");
		for (size_t k = 0; got.n == 0 || k < f.n; k++) {
			if (k >= f.n)
				break;
			buf_printf(&got, "%s %.*s|", f.v[k].plain ? "plain" : alias_kind_words[f.v[k].kind], STR_ARG(f.v[k].text));
		}
		tap_is_mem(buf_view(&got), str_c(t[i].want), "forward file %zu %s", i, e.text);
		buf_fini(&got);
		arena_free(&a);
	}
}

static void outcomes(void)
{
	static const struct {
		int status;
		bool overran;
		const char *output, *want;
	} t[] = {
		{ 0, false, "ignored", "2.0.0 delivered to command: prog -a" },
		{ 75 << 8, false, "", "temp 4.3.0 temporary failure" },
		{ 75 << 8, false, "4.2.2 mailbox full\n", "temp 4.2.2 temporary failure. Command output: mailbox full" },
		{ 75 << 8, false, "5.2.2 mailbox full", "temp 4.3.0 temporary failure. Command output: 5.2.2 mailbox full" },
		{ 67 << 8, false, "no joe here", "5.1.1 user unknown. Command output: no joe here" },
		{ 77 << 8, false, "", "5.7.0 permission denied" },
		{ 71 << 8, false, "", "temp 4.3.0 system resource problem" },
		{ 1 << 8, false, "oops\nmore", "5.3.0 Command died with status 1: \"prog -a\". Command output: oops?more" },
		{ 1 << 8, false, "5.7.26 not today", "5.7.26 Command died with status 1: \"prog -a\". Command output: not today" },
		{ 9, false, "", "temp 4.3.0 Command died with signal 9: \"prog -a\"" },
		{ 9, true, "", "5.3.0 Command time limit exceeded: \"prog -a\"" },
	};

	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		struct outcome o;
		char got[400];
		const int r = program_outcome(t[i].status, t[i].overran, STR("prog -a"), str_c(t[i].output), &o);

		snprintf(got, sizeof(got), "%s%s %s", r < 0 && !o.permanent ? "temp " : "", o.enhanced, o.text);
		(void)tap_is_str(got, t[i].want, "end %zu", i);
		(void)tap_is_int(r, t[i].status || t[i].overran ? -1 : 0, "and its result");
	}
}

static const char *put_file(const char *name, const char *text, mode_t mode)
{
	static char p[200];

	snprintf(p, sizeof(p), "%s/%s", dir, name);
	(void)unlink(p);
	const int fd = open(p, O_WRONLY | O_CREAT, 0600);
	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) || fchmod(fd, mode) < 0)
		abort();
	close(fd);
	return p;
}

static struct account account(void)
{
	struct account a = { .name = "joe", .uid = geteuid(), .gid = getegid() };

	snprintf(a.home, sizeof(a.home), "%s", dir);
	return a;
}

/* "keep; address …; command …; file …", or the trouble. */
static void describe(const struct sources *s, const struct ipc_deliver_COPY *m, struct buf *got)
{
	struct arena *a = arena_new(0);
	struct plan p;
	struct err e = { 0 };

	if (plan_make(s, m, a, &p, &e) < 0) {
		buf_printf(got, "! %s", e.text);
		arena_free(&a);
		return;
	}
	if (p.keep)
		buf_c(got, "keep;");
	for (size_t i = 0; i < p.n_addresses; i++)
		buf_printf(got, "%.*s;", STR_ARG(p.addresses[i]));
	for (size_t i = 0; i < p.n_programs; i++)
		buf_printf(got, "%s %.*s;", p.programs[i].command ? "|" : "file", STR_ARG(p.programs[i].text));
	arena_free(&a);
}

static void plan_is(const char *policy, const struct ipc_deliver_COPY *m, const char *alias, const char *want, const char *name)
{
	const struct account acct = account();
	struct sources s = { .arena = arena_new(0), .acct = &acct, .alias = alias ? str_c(alias) : (struct str){ 0 } };
	struct buf got;

	buf_init(&got, 4096);
	policy_parse(str_c(policy), &s.policy);
	sources_read(&s);
	describe(&s, m, &got);
	(void)tap_is_str(got.n ? got.p : "", want, "%s", name);
	buf_fini(&got);
	arena_free(&s.arena);
}

#define PATHS "forward=$home/.forward${recipient_delimiter}${extension}\nforward=$home/.forward\ndelimiter=+-\n"

static void plans(void)
{
	const struct ipc_deliver_COPY plain = { .recipient = STR("joe@example.com") }, ext = { .recipient = STR("joe+x@example.com"), .extension = STR("x") },
		minus = { .recipient = STR("joe-x@example.com"), .extension = STR("x") };
	struct ipc_deliver_COPY item = { .recipient = STR("list@example.com"), .kind = STR("command"), .item = STR("cmd") };
	char text[400];

	(void)unlink(put_file(".forward", "", 0600));
	plan_is(PATHS, &plain, NULL, "keep;", "no forward file");
	plan_is(PATHS "mailbox_command=/bin/x\n", &plain, NULL, "| /bin/x;", "mailbox_command takes the mailbox's place");
	plan_is(PATHS "mailbox_command=/bin/x\ncommand_of=joey /bin/z\ncommand_of=JOE /bin/y -a b\ncommand_of=joe /bin/late\n", &plain, NULL, "| /bin/y -a b;",
		"mailbox_command_maps: the first of the user's own");
	plan_is(PATHS "command_of=joe@example.com /bin/z\n", &plain, NULL, "keep;", "mailbox_command_maps: somebody else's");
	put_file(".forward", "a@x, \\joe\n", 0600);
	plan_is(PATHS, &plain, NULL, "keep;a@x;", "an address and the mailbox");
	put_file(".forward", "JOE, joe@example.com\n", 0600);
	plan_is(PATHS, &plain, NULL, "keep;", "the user's own name and address are the mailbox");
	put_file(".forward+x", "ext@x\n", 0600);
	put_file(".forward", "a@x\n", 0600);
	put_file(".forward-x", "minus@x\n", 0600);
	plan_is(PATHS, &ext, NULL, "ext@x;", ".forward+extension first");
	plan_is(PATHS, &minus, NULL, "minus@x;", "by the delimiter that the address has");
	plan_is("forward=$home/.forward+$extension\ndelimiter=+-\n", &minus, NULL, "ext@x;", "or that forward_path has");
	(void)unlink(put_file(".forward-x", "", 0600));
	plan_is(PATHS, &minus, NULL, "a@x;", "that with another one is not for it");
	plan_is(PATHS, &plain, NULL, "a@x;", "but not for mail without it");
	plan_is("forward=$home/.forward\n", &ext, NULL, "a@x;", "forward_path says which files are looked for");
	(void)unlink(put_file(".forward+x", "", 0600));
	put_file(".forward", "\"|cmd x\"\n", 0600);
	plan_is(PATHS, &plain, NULL, "! .forward: commands are not allowed by configuration (allow_mail_to_commands = forward)", "commands need allow_mail_to_commands");
	plan_is(PATHS "commands=alias\n", &plain, NULL, "! .forward: commands are not allowed by configuration (allow_mail_to_commands = forward)", "for forward files");
	plan_is(PATHS "commands=forward\n", &plain, NULL, "| cmd x;", "allowed");
	put_file(".forward", "~/box, /abs/box\n", 0600);
	plan_is(PATHS, &plain, NULL, "! .forward: files are not allowed by configuration (allow_mail_to_files = forward)", "files need allow_mail_to_files");
	snprintf(text, sizeof(text), "file %s/box;file /abs/box;", dir);
	plan_is(PATHS "files=forward\n", &plain, NULL, text, "~ is the home");
	put_file(".forward", "a@x\n", 0622);
	plan_is(PATHS, &plain, NULL, "! .forward is not a plain file of the user's alone", "a file that others can write is not followed");
	(void)chmod(dir, 0722);
	put_file(".forward", "a@x\n", 0600);
	plan_is(PATHS, &plain, NULL, "! .forward: the home directory may be written by others", "nor one in such a home");
	(void)chmod(dir, 0700);
	put_file("list", "# members\na@x\nb@y, c@z\n", 0644);
	put_file(".forward", ":include:~/list, \\joe\n", 0600);
	plan_is(PATHS, &plain, NULL, "keep;a@x;b@y;c@z;", ":include: in a forward file");
	put_file("list", "|cmd\n", 0644);
	plan_is(PATHS "commands=forward\n", &plain, NULL, "! .forward: commands are not allowed by configuration (allow_mail_to_commands = include)", "commands in a list");
	plan_is(PATHS "commands=include\n", &plain, NULL, "keep;| cmd;", "allowed there");
	snprintf(text, sizeof(text), ":include:%s/list\n", dir);
	put_file("list", text, 0644);
	plan_is(PATHS, &plain, NULL, "! .forward: :include: inside of a list", "a list that includes itself");
	(void)unlink(put_file("list", "", 0644));
	snprintf(text, sizeof(text), "! .forward: %s/list cannot be opened", dir);
	plan_is(PATHS, &plain, NULL, text, "a list that is missing");
	plan_is("commands=alias\n", &item, "a@x, |cmd", "| cmd;", "a command of the alias");
	plan_is("commands=alias\n", &item, "a@x, |other", "! the alias does not say so (any more)", "a command that the alias does not hold is not run");
	plan_is("", &item, "|cmd", "! commands are not allowed by configuration (allow_mail_to_commands = alias)", "nor one that is not allowed");
	item.kind = STR("file");
	plan_is("commands=alias\nfiles=alias\n", &item, "|cmd", "! the alias does not say so (any more)", "nor is it written to");
	plan_is("commands=alias\n", &plain, "|cmd", "! this agent is for something else", "an alias's agent has no mailbox");
}

/* --- running --- */

static void run(const char *policy, const struct program *p, const char *want, const char *title)
{
	const struct account acct = account();
	const struct ipc_deliver_COPY m = { .recipient = STR("joe+x@example.com"), .extension = STR("x"), .sender = STR("$(id)`a`@example.org") };
	struct sources s = { .arena = arena_new(0), .acct = &acct };
	struct outcome o = { 0 };
	char got[400];
	static char big[300000];

	memset(big, 'b', sizeof(big) - 1);
	memcpy(big, "\nFrom here\n>From there\n", 23);
	struct content c = { .head = STR("From x  date\nSubject: t\n"), .body = 0, .end = sizeof(big) - 1 };
	c.fd = open(put_file("message", big, 0600), O_RDONLY | O_CLOEXEC);
	policy_parse(str_c(policy), &s.policy);
	const int r = program_deliver(&s, &m, p, &c, &o);
	snprintf(got, sizeof(got), "%s%s %s", r < 0 && !o.permanent ? "temp " : "", o.enhanced, o.text);
	(void)tap_is_str(got, want, "%s", title);
	close(c.fd);
	arena_free(&s.arena);
}

static bool file_is(const char *name, const char *start, size_t n)
{
	struct buf b;
	char p[200];

	buf_init(&b, 1 << 20);
	snprintf(p, sizeof(p), "%s/%s", dir, name);
	const bool ok = file_read(p, 1 << 20, &b, NULL) == 0 && b.n == n && str_starts(buf_view(&b), str_c(start));
	if (!ok)
		tap_diag("%s: %zu bytes: %.200s", name, b.n, b.p ? b.p : "");
	buf_fini(&b);
	return ok;
}

#define WORDS(x) &(struct program){ .command = true, .text = { x, sizeof(x) - 1 } }

static void programs(void)
{
	char path[200], want[300];

	run("limit=20\n", WORDS("cat >got; echo \"$SENDER $RECIPIENT $EXTENSION $LOCAL $DOMAIN $HOME\" >env"),
	    "2.0.0 delivered to command: cat >got; echo \"$SENDER $RECIPIENT $EXTENSION $LOCAL $DOMAIN $HOME\" >env", "a command through the shell");
	(void)tap_ok(file_is("got", "From x  date\nSubject: t\n\nFrom here\n>From there\nbbbb", 24 + 299999), "gets the whole message");
	snprintf(want, sizeof(want), "__id__a_@example.org joe+x@example.com x joe+x example.com %s\n", dir);
	(void)tap_ok(file_is("env", want, strlen(want)), "and an environment without a shell's characters from the net");
	run("limit=20\n", WORDS("true"), "2.0.0 delivered to command: true", "a command that does not read");
	run("limit=20\n", WORDS("echo 5.1.1 no such box; exit 67"), "5.1.1 user unknown. Command output: no such box", "its status and output count");
	run("limit=20\n", WORDS("no.such.command"), "5.3.0 Command died with status 127: \"no.such.command\". Command output: /bin/sh: 1: no.such.command: not found",
	    "a command that does not exist");
	run("limit=1\n", WORDS("sleep 100; echo x"), "5.3.0 Command time limit exceeded: \"sleep 100; echo x\"", "time limit");
	run("limit=1\n", WORDS("exec >&- 2>&-; sleep 100"), "5.3.0 Command time limit exceeded: \"exec >&- 2>&-; sleep 100\"", "also when it says nothing any more");
	run("limit=20\n", WORDS("head -c 1000000 /dev/zero | tr '\\000' ' '; exit 65"), "5.6.0 data format error", "much output is read and forgotten");
	snprintf(path, sizeof(path), "%s/box", dir);
	snprintf(want, sizeof(want), "2.0.0 delivered to file: %s", path);
	const struct program box = { .text = str_c(path) };
	run("", &box, want, "a file");
	(void)tap_ok(file_is("box", "From x  date\nSubject: t\n\n>From here\n>>From there\nbbb", 24 + 299999 + 2 + 2), "is an mbox, with From quoted");
	run("", &box, want, "again");
	(void)tap_ok(file_is("box", "From x  date\n", (24 + 299999 + 2 + 2) * 2), "appended");
	(void)chmod(path, 0700);
	snprintf(want, sizeof(want), "5.2.0 %s is no plain file", path);
	run("", &box, want, "an executable is no mailbox");
	(void)unlink(path);
	if (symlink("/etc/passwd", path) < 0)
		abort();
	snprintf(want, sizeof(want), "temp 4.2.0 %s: Too many levels of symbolic links", path);
	run("", &box, want, "a link is not followed");
	snprintf(path, sizeof(path), "%s/dir/", dir);
	snprintf(want, sizeof(want), "2.0.0 delivered to file: %s", path);
	const struct program mdir = { .text = str_c(path) };
	run("", &mdir, want, "a maildir");
	const struct program null = { .text = STR("/dev/null") };
	run("", &null, "2.0.0 delivered to file: /dev/null", "nowhere");
}

int main(void)
{
	(void)snprintf(dir, sizeof(dir), "/tmp/test_programs.%d", (int)getpid());
	if (mkdir(dir, 0700) < 0)
		return 1;
	(void)signal(SIGPIPE, SIG_IGN);	/* as lib/os/proc.c does at birth */
	forward_files();
	outcomes();
	plans();
	programs();
	const pid_t pid = fork();
	if (pid == 0)
		(void)execlp("rm", "rm", "-rf", dir, NULL);
	return tap_done();
}
