/* Any bytes after login, as one client's commands over a small mail tree: the session answers, ends with its client, and leaves nothing behind.
 * The first byte: bit 0: INBOX is selected first; bit 1: the bytes come with ATTACH, as what the front had read already; bit 2: the client is
 * another user, with all rights in one folder and none elsewhere. */
#include <stdlib.h>
#include <unistd.h>

#include "imapd/session.h"
#include "test/fuzz_session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 60000 };

static const char mixed[] = "From: \"A. B\" <a@b>\nTo: joe@example.com, x: y@z;\nSubject: =?utf-8?q?caf=C3=A9?=\nDate: Mon, 1 Jan 2024 10:00:00 +0100\n"
			    "Message-ID: <1@b>\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=x\n\npre\n--x\nContent-Type: text/plain; charset=utf-8\n"
			    "Content-Transfer-Encoding: quoted-printable\n\nhello =C3=A9\n--x\nContent-Type: message/rfc822\n\nSubject: inner\n\nbody\n"
			    "--x\nContent-Type: application/octet-stream; name=\"a.bin\"\nContent-Transfer-Encoding: base64\n\naGVsbG8=\n--x--\n";

static struct user u;

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

static void open_tree(void)
{
	struct err e = { 0 };
	const char *root = fuzz_tree();

	fuzz_tree_file("cur/100.M1P1.h,S=43,W=46:2,S", "From: a@b\nSubject: one\nX-Y: z\n\nhello\nworld\n");
	fuzz_tree_file("cur/101.M2P1.h:2,", mixed);
	fuzz_tree_file("new/102.M3P1.h", "Subject: three\n\nx\n");
	fuzz_tree_file("tmp/old", "");
	fuzz_tree_file(".Work/cur/103.M4P1.h:2,FT", "\nno header\n");
	fuzz_tree_file(".Work/new/104.M5P1.h", "");
	fuzz_tree_file(".Work/tmp/x", "");
	fuzz_tree_file(".Work/postern.acl", "1\nbob lrswipkxtea\n");
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
	list_init(&u.folders);
	buf_init(&u.out, CLIENT_OUT_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ipc_sess_ATTACH m = { .conn = 1, .client = STR("192.0.2.1"), .server = STR("192.0.2.2") };
	struct err e = { 0 };
	struct buf in;

	if (size < 1 || size > INPUT_MAX)
		return 0;
	if (!u.conf)
		start();
	fuzz_log_mute();
	open_tree();
	u.loop = loop_new();
	buf_init(&in, INPUT_MAX + 100);
	if (data[0] & 4)
		m.guest = STR("bob");
	if (data[0] & 1)
		buf_c(&in, data[0] & 4 ? "s SELECT Other/joe/Work\r\n" : "s SELECT INBOX\r\n");
	buf_mem(&in, data + 1, size - 1);
	if (data[0] & 2)
		m.input = buf_view(&in);
	if (client_attach(&u, fuzz_client(u.loop, data[0] & 2 ? STR("") : buf_view(&in), nothing, NULL), &m, &e) < 0)
		abort();
	loop_run(u.loop);
	fuzz_client_end();
	timer_del(&u.purge);
	folder_forget_unused(&u);
	if (u.n_clients || u.out.n)
		abort();
	store_close(&u.store);
	loop_free(&u.loop);
	buf_fini(&in);
	return 0;
}
