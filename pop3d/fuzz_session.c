/* Any bytes after login, as a client's commands over a small maildrop: the session answers, and ends with its client. The first byte's bit 0: the
 * bytes come with ATTACH, as what the front had read already. */
#include <stdlib.h>

#include "pop3d/session.h"
#include "test/fuzz_session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 60000 };

static struct user u;

static void stop(void *ctx)
{
	loop_stop(u.loop);
}

static void client_gone(void *ctx)
{
}

static void open_tree(void)
{
	struct err e = { 0 };
	const char *root = fuzz_tree();

	fuzz_tree_file("cur/100.M1P1.h,S=43,W=46:2,S", "From: a@b\nSubject: one\nX-Y: z\n\nhello\nworld\n");
	fuzz_tree_file("cur/101.M2P1.h,W=1:2,", "Subject: dots\r\n\r\n.\n..\n.x\r\n\r.\n\0");
	fuzz_tree_file("new/102.M3P1.h", "no header, no end");
	fuzz_tree_file("new/103.M4P1.h", "");
	fuzz_tree_file("tmp/old", "");
	if (store_open(root, true, &u.store, &e) < 0)
		abort();
}

static void start(void)
{
	struct err e = { 0 };
	struct conf *c;

	if (conf_parse(STR("myhostname = h.example\n"), "fuzz.conf", &c, NULL, &e) < 0)
		abort();
	u.conf = c;
	u.name = "joe";
	list_init(&u.clients);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ipc_sess_ATTACH m = { .conn = 1, .client = STR("192.0.2.1"), .server = STR("192.0.2.2") };
	struct str in;

	if (size < 1 || size > INPUT_MAX)
		return 0;
	if (!u.conf)
		start();
	fuzz_log_mute();
	open_tree();
	u.loop = loop_new();
	in = str_n(data + 1, size - 1);
	if (data[0] & 1)
		m.input = in;
	client_attach(&u, fuzz_client(u.loop, data[0] & 1 ? STR("") : in, client_gone, NULL), &m);
	loop_run(u.loop);	/* until the session wants to end */
	conn_when_finished(u.loop, stop, NULL);
	loop_run(u.loop);
	fuzz_client_end();
	if (u.n_clients)
		abort();
	timer_del(&u.linger);
	store_close(&u.store);
	loop_free(&u.loop);
	return 0;
}
