/* Any bytes as what another user's session process says to a guest: what is no response ends the link, nothing is believed that it may not say, and the guest's session
 * answers all commands of its client and leaves nothing behind. The first byte: which commands the client gives. */
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "imapd/link.h"
#include "imapd/listing.h"
#include "test/fuzz_session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 60000 };

/* Segments (fuzz_session.h) go out when the one before was answered. */
#define NEXT "\x1e"
static const char *const commands[] = {
	"a LIST \"\" Other/* RETURN (STATUS (MESSAGES UNSEEN) MYRIGHTS)\r\n" NEXT "b LIST \"\" %\r\n",
	"a SELECT Other/eve/x\r\n" NEXT "b FETCH 1:* (FLAGS BODY[])\r\n" NEXT "c NOOP\r\n" NEXT "d UID SEARCH ALL\r\n" NEXT "e CLOSE\r\n",
	"a ENABLE QRESYNC UTF8=ACCEPT\r\n" NEXT "b EXAMINE Other/eve/x\r\n" NEXT "c IDLE\r\n" NEXT "DONE\r\n" NEXT "d STORE 1 +FLAGS (x)\r\n",
	"a SELECT INBOX\r\n" NEXT "b COPY 1:2 Other/eve/x\r\n" NEXT "c MOVE 1 Other/eve/x\r\n",
	"a SELECT Other/eve/x\r\n" NEXT "b COPY 1:* INBOX\r\n" NEXT "c UID MOVE 1:* Work\r\n",
	"a APPEND Other/eve/x {5}\r\n" NEXT "hello\r\n" NEXT "b APPEND Other/eve/x () {3+}\r\nabc {2+}\r\nde\r\n",
	"a GETACL Other/eve/x\r\n" NEXT "b STATUS Other/eve/x (MESSAGES)\r\n" NEXT "c CREATE Other/eve/y\r\n" NEXT "d SELECT Other/zoe/z\r\n",
	"a ESEARCH IN (mailboxes (INBOX Other/eve/x Other/zoe/z) subtree Other/eve/y) RETURN (COUNT) ALL\r\n" NEXT "b ESEARCH IN (mailboxes Other/eve/x) ALL\r\n",
	"a SELECT Other/eve/x\r\n" NEXT "b COPY 1 Other/zoe/z\r\n" NEXT "c SELECT INBOX\r\n" NEXT "d NOTIFY SET (PERSONAL (MessageNew MessageExpunge))\r\n",
};

static struct user u;
static struct str said;		/* by eve, and by zoe too */
static int theirs[64];		/* their ends */
static size_t n_theirs;

static void stop(void *ctx)
{
	loop_stop(u.loop);
}

static void nothing(void *ctx)
{
}

void user_idle(struct user *user)
{
	if (user->n_clients == 0)
		conn_when_finished(user->loop, stop, NULL);
}

/* All of it is there at once, and then the end. Theirs stays open: were it closed, our first word would fail before anything was read. -1: no more. */
static int owner(void)
{
	int s[2];

	if (n_theirs == ARRAY_LEN(theirs))
		return -1;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, s) < 0)
		abort();
	if (said.n && write(s[1], said.p, said.n) != (ssize_t)said.n)
		abort();
	(void)shutdown(s[1], SHUT_WR);
	theirs[n_theirs++] = s[1];
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
		link_opened(&u, id, owner(), ERR_TEMP);
}

static void on_closed(void *ctx, struct ipc_chan *ch, const struct err *why)
{
}

static void start(void)
{
	struct err e = { 0 };
	struct conf *c;

	(void)signal(SIGPIPE, SIG_IGN);
	if (conf_parse(STR("myhostname = h.example\nlearn_from_users = no\n"), "fuzz.conf", &c, NULL, &e) < 0)
		abort();
	u.conf = c;
	u.name = "joe";
	list_init(&u.clients);
	list_init(&u.folders);
	buf_init(&u.out, CLIENT_OUT_MAX);
}

static void open_tree(void)
{
	struct err e = { 0 };
	const char *root = fuzz_tree();

	fuzz_tree_file("cur/100.M1P1.h,S=43,W=46:2,S", "From: a@b\nSubject: one\nX-Y: z\n\nhello\nworld\n");
	fuzz_tree_file("new/102.M3P1.h", "Subject: three\n\nx\n");
	fuzz_tree_file(".Work/cur/103.M4P1.h:2,FT", "\nno header\n");
	fuzz_tree_file(".Work/new/104.M5P1.h", "");
	fuzz_tree_file(".Work/tmp/x", "");
	if (store_open(root, true, &u.store, &e) < 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct ipc_sess_ATTACH m = { .conn = 1, .client = STR("192.0.2.1"), .server = STR("192.0.2.2") };
	struct ipc_chan *authd;
	struct err e = { 0 };
	int chan[2];

	if (size < 1 || size > INPUT_MAX)
		return 0;
	if (!u.conf)
		start();
	fuzz_log_mute();
	open_tree();
	said = str_n((const char *)data + 1, size - 1);
	u.loop = loop_new();
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, chan) < 0)
		abort();
	u.chan = ipc_chan_new(u.loop, chan[0], &ipc_sess, on_message, on_closed, NULL);
	authd = ipc_chan_new(u.loop, chan[1], &ipc_sess, on_message, on_closed, NULL);
	if (client_attach(&u, fuzz_client(u.loop, str_c(commands[data[0] % ARRAY_LEN(commands)]), nothing, NULL), &m, &e) < 0)
		abort();
	loop_run(u.loop);
	fuzz_client_end();
	while (n_theirs)
		close(theirs[--n_theirs]);
	folder_forget_unused(&u);
	if (u.n_clients || u.out.n)
		abort();
	ipc_chan_free(&authd);
	ipc_chan_free(&u.chan);
	store_close(&u.store);
	loop_free(&u.loop);
	return 0;
}
