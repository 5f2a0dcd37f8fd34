/* Commands about folders of others, when an owner's process names folders that are not its own. What it says is written here, as bytes. */
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "imapd/link.h"
#include "os/os.h"
#include "test/fuzz_session.h"
#include "test/tap.h"

enum { ANSWER_MAX = 60000, HANG_UP_MS = 5000 };

#define SELECTED "* 1 EXISTS\r\na OK done\r\n"
#define ENABLE "e ENABLE IMAP4rev2\r\n"
#define ENABLED "postern.1 OK done\r\n"
#define STATUS "a STATUS Other/eve/x (MESSAGES)\r\n"
#define STATUS_ANSWER "* STATUS Other/eve/x (MESSAGES 1)\r\na OK done\r\n"
#define NOTIFY "n NOTIFY SET (selected (MessageNew (UID) MessageExpunge))\r\n"
#define NOTIFY_ANSWER "postern.1 OK done\r\n"

static const struct exchange {
	const char *name, *command, *said;
	const char *bad;	/* what the client may not hear; NULL: it hears all */
} cases[] = {
	{ "STATUS", "a STATUS Other/eve/x (MESSAGES)\r\n", "* STATUS Other/eve/x (MESSAGES 1)\r\na OK done\r\n", NULL },
	{ "STATUS of one's own", "a STATUS Other/eve/x (MESSAGES)\r\n", "* STATUS INBOX (MESSAGES 1)\r\na OK done\r\n", "* STATUS" },
	{ "STATUS of a third one's", "a STATUS Other/eve/x (MESSAGES)\r\n", "* STATUS \"Other/zoe/x\" (MESSAGES 1)\r\na OK done\r\n", "* STATUS" },
	{ "STATUS of the owner's root", "a STATUS Other/eve/x (MESSAGES)\r\n", "* STATUS Other/eve/ (MESSAGES 1)\r\na OK done\r\n", "* STATUS" },
	{ "STATUS behind a number", "a STATUS Other/eve/x (MESSAGES)\r\n", "* 1 STATUS INBOX (MESSAGES 1)\r\na OK done\r\n", " 1 STATUS" },
	{ "STATUS behind a lone CR", "a STATUS Other/eve/x (MESSAGES)\r\n", "* OK x\r* STATUS INBOX (MESSAGES 1)\r\na OK done\r\n", "* STATUS" },
	{ "STATUS behind a lone CR in a tagged line", "a STATUS Other/eve/x (MESSAGES)\r\n", "a OK x\r* STATUS INBOX (MESSAGES 1)\r\n", "* STATUS" },
	{ "STATUS of a literal", "a STATUS Other/eve/x (MESSAGES)\r\n", "* STATUS {5}\r\nINBOX (MESSAGES 1)\r\na OK done\r\n", "* STATUS" },
	{ "STATUS of nothing", "a STATUS Other/eve/x (MESSAGES)\r\n", "* STATUS\r\na OK done\r\n", "* STATUS" },
	{ "ACL", "a GETACL Other/eve/x\r\n", "* ACL Other/eve/x joe lr\r\na OK done\r\n", NULL },
	{ "ACL of another", "a GETACL Other/eve/x\r\n", "* ACL Work joe lr\r\na OK done\r\n", "* ACL" },
	{ "MYRIGHTS of another", "a MYRIGHTS Other/eve/x\r\n", "* MYRIGHTS Work lr\r\na OK done\r\n", "* MYRIGHTS" },
	{ "LISTRIGHTS of another", "a LISTRIGHTS Other/eve/x joe\r\n", "* LISTRIGHTS Work joe lr\r\na OK done\r\n", "* LISTRIGHTS" },
	{ "QUOTAROOT of another", "a GETQUOTAROOT Other/eve/x\r\n", "* QUOTAROOT Work \"\"\r\na OK done\r\n", "* QUOTAROOT" },
	{ "METADATA with a literal", "a GETMETADATA Other/eve/x /shared/comment\r\n",
	  "* METADATA Other/eve/x (/shared/comment {5}\r\nhello)\r\na OK done\r\n", NULL },
	{ "METADATA of the server", "a GETMETADATA Other/eve/x /shared/comment\r\n", "* METADATA \"\" (/shared/comment {5}\r\nhello)\r\na OK done\r\n", "* METADATA" },
	{ "LIST", ENABLE "a CREATE Other/eve/y\r\n", ENABLED "* LIST () \"/\" Other/eve/y (\"OLDNAME\" (\"Other/eve/x\"))\r\na OK done\r\n", NULL },
	{ "LIST of another", ENABLE "a CREATE Other/eve/y\r\n", ENABLED "* LIST () \"/\" Work\r\na OK done\r\n", "* LIST" },
	{ "LIST with another's old name", ENABLE "a CREATE Other/eve/y\r\n",
	  ENABLED "* LIST () \"/\" Other/eve/y (\"OLDNAME\" (INBOX))\r\na OK done\r\n", "* LIST" },
	{ "LIST with what nobody knows", ENABLE "a CREATE Other/eve/y\r\n",
	  ENABLED "* LIST () \"/\" Other/eve/y (\"NEWNAME\" (INBOX))\r\na OK done\r\n", "* LIST" },
	{ "ESEARCH of what is selected", "a SELECT Other/eve/x\r\n", SELECTED "* ESEARCH (TAG \"b\") UID ADDTO (0 1)\r\n", NULL },
	{ "ESEARCH without a tag", "a SELECT Other/eve/x\r\n", SELECTED "* ESEARCH COUNT 1\r\n", NULL },
	{ "ESEARCH of another", "a SELECT Other/eve/x\r\n", SELECTED "* ESEARCH (TAG \"b\" MAILBOX INBOX UIDVALIDITY 1) UID ALL 1\r\n", "* ESEARCH" },
	{ "ESEARCH of another, said otherwise", "a SELECT Other/eve/x\r\n", SELECTED "* ESEARCH (MAILBOX INBOX TAG \"b\" UIDVALIDITY 1) UID ALL 1\r\n", "* ESEARCH" },
	{ "NOTIFY before SELECT", NOTIFY "a SELECT Other/eve/x\r\n", NOTIFY_ANSWER SELECTED "* 2 EXISTS\r\n* 2 FETCH (UID 2)\r\n", NULL },
	{ "FLAGS of what is selected", "a SELECT Other/eve/x\r\n", "* FLAGS (x)\r\n" SELECTED "* FLAGS (x y)\r\n", NULL },
	{ "OK", STATUS, "* OK x\r\n" STATUS_ANSWER, NULL },
	{ "OK with a code, of what is selected", "a SELECT Other/eve/x\r\n", "* OK [UIDVALIDITY 777] x\r\n" SELECTED "* NO [NOUPDATE \"b\"] x\r\n", NULL },
};

/* What is not for the client, though she may say it. */
static const struct exchange passed_over[] = {
	{ "EXISTS before the answer to SELECT", NOTIFY "a SELECT Other/eve/x\r\n", "* 5 EXISTS\r\n" NOTIFY_ANSWER SELECTED, "5 EXISTS" },
	{ "FLAGS before the answer to SELECT", NOTIFY "a SELECT Other/eve/x\r\n", "* FLAGS (x)\r\n" NOTIFY_ANSWER SELECTED, "FLAGS" },
	{ "FLAGS of nothing that is selected", STATUS, "* FLAGS (x)\r\n" STATUS_ANSWER, "FLAGS" },
	{ "OK with a code", "s SELECT INBOX\r\n" STATUS, "* OK [UIDVALIDITY 777] x\r\n" STATUS_ANSWER, "[UIDVALIDITY 777]" },
	{ "OK with a code behind spaces", STATUS, "* OK  [UIDVALIDITY 777] x\r\n" STATUS_ANSWER, "777" },
	{ "OK with a code behind a number", STATUS, "* 1 OK [UIDVALIDITY 777] x\r\n" STATUS_ANSWER, "777" },
	{ "OK with a code and a literal", STATUS, "* OK [X {5}\r\n777\r\n] x\r\n" STATUS_ANSWER, "777" },
	{ "NO with a code", STATUS, "* NO [UIDVALIDITY 777] x\r\n" STATUS_ANSWER, "777" },
	{ "BAD with a code", STATUS, "* BAD [UIDVALIDITY 777] x\r\n" STATUS_ANSWER, "777" },
};

/* A message of eve's that is copied to zoe's folder: what eve says of it. */
static const struct {
	const char *name, *said;
	bool taken;
} copies[] = {
	{ "a copy", "(UID 7 FLAGS (\\Seen) INTERNALDATE \"17-Jul-1996 02:44:25 +0000\" BODY[] {1}\r\nx)\r\n", true },
	{ "a copy whose flags hold a command",
	  "(UID 7 FLAGS ({22}\r\n\r\nx DELETE Other/zoe/z) INTERNALDATE \"17-Jul-1996 02:44:25 +0000\" BODY[] {1}\r\nx)\r\n", false },
	{ "a copy whose flags hold the end of a line", "(UID 7 FLAGS (x\rDELETE) INTERNALDATE \"17-Jul-1996 02:44:25 +0000\" BODY[] {1}\r\nx)\r\n", false },
	{ "a copy whose date holds a command",
	  "(UID 7 FLAGS () INTERNALDATE \"{24}\r\n\r\nx DELETE Other/zoe/z\r\n\" BODY[] {1}\r\nx)\r\n", false },
};

static struct user u;
static const char *says;	/* she */
static size_t now;	/* the copy */
static int eve = -1;	/* her end of the link */
static struct conn *source, *target;	/* eve's and zoe's ends, when messages are copied */
static struct buf told;	/* to zoe */
static bool copying;

static void stop(void *ctx)
{
	loop_stop(u.loop);
}

void user_idle(struct user *user)
{
	conn_when_finished(user->loop, stop, NULL);
}

/* All of it is there at once, and then the end. What she is told is not read. Our end. */
static int owner(void)
{
	const size_t n = strlen(says);
	int s[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, s) < 0 || write(s[1], says, n) != (ssize_t)n)
		abort();
	(void)shutdown(s[1], SHUT_WR);
	eve = s[1];
	return s[0];
}

/* The ends of a copy. */
static void on_source(void *ctx, struct conn *k, enum conn_event ev)
{
	const struct str in = conn_input(k);

	if (ev != CONN_EV_DATA)
		return;
	if (str_find(in, STR("FETCH 1 ")) >= 0) {
		conn_write(k, STR("* 1 FETCH "));
		conn_write(k, str_c(copies[now].said));
		conn_write(k, STR("postern.1 OK done\r\n"));
	} else if (str_find(in, STR("SELECT")) >= 0) {
		conn_write(k, STR(SELECTED));
	}
	conn_consume(k, in.n);
}

static void on_target(void *ctx, struct conn *k, enum conn_event ev)
{
	const struct str in = conn_input(k);

	if (ev != CONN_EV_DATA)
		return;
	buf_str(&told, in);
	conn_consume(k, in.n);
	if (str_ends(buf_view(&told), STR("x\r\n")))
		conn_write(k, STR("postern.1 OK [APPENDUID 1 1] done\r\n"));
}

static int copy_end(struct str name)
{
	const struct conn_limits limits = { .in_max = 4096, .out_high = 4096, .out_max = 65536 };
	const bool is_eve = str_eq(name, STR("eve"));
	int s[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, s) < 0)
		abort();
	*(is_eve ? &source : &target) = conn_new(u.loop, s[1], &limits, is_eve ? on_source : on_target, NULL);
	return s[0];
}

/* authd's part. */
static void on_message(void *ctx, struct ipc_chan *ch, uint16_t type, uint32_t id, void *msg, int fd)
{
	if (type == IPC_sess_GUEST_OPEN)
		link_opened(&u, id, copying ? copy_end(((const struct ipc_sess_GUEST_OPEN *)msg)->owner) : owner(), ERR_NONE);
}

static void on_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
}

/* Something has gone wrong: what is selected has not ended with the link. */
static void hang_up(void *ctx)
{
	(void)shutdown(*(const int *)ctx, SHUT_WR);
}

/* What joe hears. */
static void hear(const char *command, bool end, char *answer, size_t max)
{
	const struct ipc_sess_ATTACH m = { .conn = 1, .client = STR("192.0.2.1"), .server = STR("192.0.2.2"), .input = str_c(command) };
	struct ipc_chan *authd;
	struct timer *late;
	struct err e = { 0 };
	size_t n = 0;
	int chan[2], s[2];
	ssize_t r;

	u.loop = loop_new();
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, chan) < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s) < 0)
		abort();
	u.chan = ipc_chan_new(u.loop, chan[0], &ipc_sess, on_message, on_closed, NULL);
	authd = ipc_chan_new(u.loop, chan[1], &ipc_sess, on_message, on_closed, NULL);
	if (client_attach(&u, s[0], &m, &e) < 0)
		abort();
	if (end)
		(void)shutdown(s[1], SHUT_WR);
	late = loop_timer(u.loop, HANG_UP_MS, hang_up, &s[1]);
	loop_run(u.loop);
	timer_del(&late);
	while (n < max - 1 && (r = read(s[1], answer + n, max - 1 - n)) > 0)
		n += (size_t)r;
	answer[n] = '\0';
	close(s[1]);
	close_fd(&eve);
	conn_free(&source);
	conn_free(&target);
	ipc_chan_free(&authd);
	ipc_chan_free(&u.chan);
	loop_free(&u.loop);
}

static void exchange(const struct exchange *x, char *answer, size_t max)
{
	says = x->said;
	hear(x->command, !strstr(x->command, "SELECT Other"), answer, max);	/* what is selected ends with the link */
}

int main(void)
{
	static char answer[ANSWER_MAX];
	struct err e = { 0 };
	struct conf *c;

	signal(SIGPIPE, SIG_IGN);
	fuzz_log_mute();
	if (conf_parse(STR("myhostname = h.example\n"), "test.conf", &c, NULL, &e) < 0 || store_open(fuzz_tree(), true, &u.store, &e) < 0)
		abort();
	u.conf = c;
	u.name = "joe";
	list_init(&u.clients);
	list_init(&u.folders);
	buf_init(&u.out, CLIENT_OUT_MAX);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const char *said = cases[i].said;

		exchange(&cases[i], answer, sizeof(answer));
		if (str_starts(str_c(said), STR(ENABLED)))	/* or NOTIFY_ANSWER */
			said += strlen(ENABLED);
		if (!cases[i].bad)
			tap_ok(strstr(answer, said) != NULL, "%s: passes", cases[i].name);
		else
			tap_ok(!strstr(answer, cases[i].bad) && (strstr(answer, "a NO [UNAVAILABLE]") || strstr(answer, "* BYE")), "%s: ends the link", cases[i].name);
	}
	for (size_t i = 0; i < ARRAY_LEN(passed_over); i++) {
		exchange(&passed_over[i], answer, sizeof(answer));
		tap_ok(!strstr(answer, passed_over[i].bad) && strstr(answer, "a OK done"), "%s: is passed over", passed_over[i].name);
	}
	copying = true;
	for (now = 0; now < ARRAY_LEN(copies); now++) {
		buf_init(&told, ANSWER_MAX);
		hear("a SELECT Other/eve/x\r\nb COPY 1 Other/zoe/z\r\nc LOGOUT\r\n", false, answer, sizeof(answer));
		if (copies[now].taken)
			tap_ok(strstr(answer, "b OK [COPYUID 1 7 1]") && strstr(told.p, "APPEND Other/zoe/z (\\Seen) \"17"), "%s: is made", copies[now].name);
		else
			tap_ok(!strstr(answer, "b OK") && !strstr(told.p, "DELETE"), "%s: does not reach the third one", copies[now].name);
		buf_fini(&told);
	}
	store_close(&u.store);
	return tap_done();
}
