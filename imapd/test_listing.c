/* LIST over folders of others, when an owner's process says what it should not. The owners are written here: their responses as bytes. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "imapd/link.h"
#include "imapd/listing.h"
#include "test/fuzz_session.h"
#include "test/tap.h"

enum { ANSWER_MAX = 60000, MANY = 6000 };

#define FOLDER(name) "* LIST (\\HasNoChildren) \"/\" Other/eve/" name "\r\n"
#define STATUS(name) "* STATUS Other/eve/" name " (MESSAGES 1)\r\n"
#define RIGHTS(name) "* MYRIGHTS Other/eve/" name " lr\r\n"

static const struct {
	const char *name, *first, *many, *last;
	bool ends;		/* that link, at what is too much */
	bool waits;		/* for zoe to be asked */
} cases[] = {
	{ "a folder with its status and rights", FOLDER("x") STATUS("x") RIGHTS("x"), NULL, FOLDER("y"), false, false },
	{ "one more word about a folder", FOLDER("x") STATUS("x") RIGHTS("x") STATUS("x"), NULL, FOLDER("y"), true, false },
	{ "a folder named again and again", FOLDER("x") STATUS("x") FOLDER("x") STATUS("x") FOLDER("x") RIGHTS("x"), NULL, FOLDER("y"), true, false },
	{ "words about no folder", STATUS("x") STATUS("x") STATUS("x"), NULL, FOLDER("y"), false, false },
	{ "the status of another's folder", FOLDER("x") "* STATUS INBOX (MESSAGES 1)\r\n", NULL, FOLDER("y"), true, false },
	{ "rights to another folder", FOLDER("z") FOLDER("x") RIGHTS("z"), NULL, FOLDER("y"), true, false },
	{ "an old name that is another's", "* LIST () \"/\" Other/eve/y (\"OLDNAME\" (INBOX))\r\n", NULL, "", true, false },
	{ "more bytes than folders have", FOLDER("x"), "* OK ", FOLDER("y"), true, false },
	{ "nobody waits for another one", FOLDER("x"), NULL, FOLDER("y"), false, true },
};

static struct user u;
static size_t now;	/* the case */
static int client = -1;	/* joe's end */
static int asked[2];	/* a byte when zoe has been */

static void stop(void *ctx)
{
	loop_stop(u.loop);
}

void user_idle(struct user *user)
{
	shutdown(client, SHUT_WR);
	conn_when_finished(user->loop, stop, NULL);
}

static void write_all(int fd, const char *text)
{
	for (size_t n = strlen(text); n;) {
		const ssize_t w = write(fd, text, n);

		if (w <= 0)
			return;
		text += w;
		n -= (size_t)w;
	}
}

static void eve_says(int fd)
{
	static char line[4096];

	if (cases[now].waits && read(asked[0], line, 1) != 1)
		return;
	write_all(fd, cases[now].first);
	if (cases[now].many) {
		snprintf(line, sizeof(line), "%s%04000d\r\n", cases[now].many, 0);
		for (unsigned i = 0; i < MANY; i++)
			write_all(fd, line);
	}
	write_all(fd, cases[now].last);
	write_all(fd, "postern.1 OK done\r\n");
}

/* A process, since the socket holds less than it says. Returns our end. */
static int owner(struct str name)
{
	int s[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s) < 0)
		abort();
	if (str_eq(name, STR("zoe")))
		write_all(asked[1], "z");
	if (fork() == 0) {
		char rest[256];

		close(s[0]);
		if (str_eq(name, STR("eve")))
			eve_says(s[1]);
		else
			write_all(s[1], "* LIST () \"/\" Other/zoe/z\r\npostern.1 OK done\r\n");
		while (read(s[1], rest, sizeof(rest)) > 0)
			;
		_exit(0);
	}
	close(s[1]);
	return s[0];
}

/* authd's part. */
static void on_message(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	struct str names[] = { STR("eve"), STR("zoe") };
	const struct ipc_strs owners = { .v = names, .n = ARRAY_LEN(names) };

	if (type == IPC_sess_SHARERS_ASK)
		listing_sharers(&u, id, &owners);
	else if (type == IPC_sess_GUEST_OPEN)
		link_opened(&u, id, owner(((const struct ipc_sess_GUEST_OPEN *)msg)->owner), ERR_NONE);
}

static void on_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
}

/* What joe hears. */
static void list(char *answer, size_t max)
{
	const struct ipc_sess_ATTACH m = { .conn = 1, .client = STR("192.0.2.1"), .server = STR("192.0.2.2"),
					   .input = STR("a LIST \"\" Other/* RETURN (STATUS (MESSAGES) MYRIGHTS)\r\nb LOGOUT\r\n") };
	struct ipc_chan *authd;
	struct err e = { 0 };
	size_t n = 0;
	int chan[2], s[2];
	ssize_t r;

	u.loop = loop_new();
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, chan) < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s) < 0)
		abort();
	client = s[1];
	u.chan = ipc_chan_new(u.loop, chan[0], &ipc_sess, on_message, on_closed, NULL);
	authd = ipc_chan_new(u.loop, chan[1], &ipc_sess, on_message, on_closed, NULL);
	if (client_attach(&u, s[0], &m, &e) < 0)
		abort();
	loop_run(u.loop);
	while (n < max - 1 && (r = read(client, answer + n, max - 1 - n)) > 0 && !strstr(answer, "b OK"))
		answer[n += (size_t)r] = '\0';
	close(client);
	ipc_chan_free(&authd);
	ipc_chan_free(&u.chan);
	loop_free(&u.loop);
}

int main(void)
{
	static char answer[ANSWER_MAX];
	struct err e = { 0 };
	struct conf *c;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_IGN);
	fuzz_log_mute();
	if (conf_parse(STR("myhostname = h.example\n"), "test.conf", &c, NULL, &e) < 0 || store_open(fuzz_tree(), true, &u.store, &e) < 0)
		abort();
	u.conf = c;
	u.name = "joe";
	list_init(&u.clients);
	list_init(&u.folders);
	buf_init(&u.out, CLIENT_OUT_MAX);
	for (now = 0; now < ARRAY_LEN(cases); now++) {
		if (pipe(asked) < 0)
			abort();
		answer[0] = '\0';
		list(answer, sizeof(answer));
		tap_is_int(strstr(answer, "Other/eve/y") == NULL, cases[now].ends, "%s: %s", cases[now].name, cases[now].ends ? "ends the link" : "is taken");
		tap_ok(strstr(answer, "Other/zoe/z") && strstr(answer, "\r\na OK "), "%s: the next owner is asked", cases[now].name);
		close(asked[0]);
		close(asked[1]);
	}
	store_close(&u.store);
	return tap_done();
}
