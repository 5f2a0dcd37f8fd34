/* The milter protocol's packets, whole, cut and malformed; what is sent; how milters are named. */
#include <stdio.h>
#include <string.h>

#include "deliver/policy/milter_wire.h"
#include "test/tap.h"

#define BYTES(lit) { (lit), sizeof(lit) - 1 }
#define WANT(lit) str_n(lit, sizeof(lit) - 1)

static void test_packets(void)
{
	static const struct {
		const char *name;
		struct str in;
		int r;
		char command;
		size_t n;
	} t[] = {
		{ "continue", BYTES("\0\0\0\1c"), 0, 'c', 0 },
		{ "with data", BYTES("\0\0\0\5qabc\0"), 0, 'q', 4 },
		{ "another behind it", BYTES("\0\0\0\1c\0\0\0\1c"), 0, 'c', 0 },
		{ "nothing", BYTES(""), 1, 0, 0 },
		{ "cut length", BYTES("\0\0\0"), 1, 0, 0 },
		{ "no command", BYTES("\0\0\0\1"), 1, 0, 0 },
		{ "cut data", BYTES("\0\0\0\5qabc"), 1, 0, 0 },
		{ "empty", BYTES("\0\0\0\0"), -1, 0, 0 },
		{ "the longest", BYTES("\0\2\0\0c"), 1, 0, 0 },
		{ "longer", BYTES("\0\2\0\1c"), -1, 0, 0 },
		{ "endless", BYTES("\377\377\377\377c"), -1, 0, 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		struct str data = { 0 };
		struct err e = { 0 };
		size_t used = 0;
		char command = 0;
		tap_is_int(milter_packet_get(t[i].in, &command, &data, &used, &e), t[i].r, "packet: %s", t[i].name);
		if (t[i].r == 0)
			tap_ok(command == t[i].command && data.n == t[i].n && used == 5 + t[i].n, "packet: %s: its parts", t[i].name);
	}
}

static void test_options(void)
{
	static const struct {
		const char *name;
		struct str in;
		uint32_t offered;
		int r;
	} t[] = {
		{ "all of ours", BYTES("\0\0\0\6\0\0\1\375\0\37\367\377"), 6, 0 },
		{ "version 2", BYTES("\0\0\0\2\0\0\0\1\0\0\0\0"), 6, 0 },
		{ "actions that were not offered are dropped", BYTES("\0\0\0\6\377\377\377\377\0\0\0\0"), 6, 0 },
		{ "macros", BYTES("\0\0\0\6\0\0\1\0\0\0\0\0\0\0\0\5i j\0\0\0\0\0\0"), 6, 0 },
		{ "version 1", BYTES("\0\0\0\1\0\0\0\0\0\0\0\0"), 6, -1 },
		{ "version 7", BYTES("\0\0\0\7\0\0\0\0\0\0\0\0"), 6, -1 },
		{ "more than offered", BYTES("\0\0\0\6\0\0\0\0\0\0\0\0"), 4, -1 },
		{ "steps that were not offered", BYTES("\0\0\0\6\0\0\0\0\0\0\10\0"), 6, -1 },
		{ "steps that version 2 has not", BYTES("\0\0\0\2\0\0\0\0\0\0\4\0"), 2, -1 },
		{ "cut", BYTES("\0\0\0\6\0\0\0\0\0\0\0"), 6, -1 },
		{ "nothing", BYTES(""), 6, -1 },
		{ "macros of no stage", BYTES("\0\0\0\6\0\0\1\0\0\0\0\0\0\0\0\7i\0"), 6, -1 },
		{ "macros without end", BYTES("\0\0\0\6\0\0\1\0\0\0\0\0\0\0\0\5i"), 6, -1 },
		{ "half a stage", BYTES("\0\0\0\6\0\0\1\0\0\0\0\0\0\0"), 6, -1 },
	};
	struct milter_options o;
	struct err e = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(t); i++)
		tap_is_int(milter_options_get(t[i].in, t[i].offered, &o, &e), t[i].r, "options: %s", t[i].name);
	tap_is_int(milter_options_get(t[3].in, 6, &o, &e), 0, "options with macros");
	tap_is_mem(o.macros[MILTER_EOM], STR("i j"), "of the end of the message");
	tap_ok(o.macros[MILTER_CONNECT].p && o.macros[MILTER_CONNECT].n == 0 && o.macros[MILTER_RCPT].p == NULL, "none for the connection, nothing said for recipients");
	tap_is_int(milter_options_get(t[2].in, 6, &o, &e), 0, "options of a filter that claims all");
	tap_is_int(o.actions, MA_OURS, "what was offered is left of them");
}

static void test_replies(void)
{
	static const struct {
		const char *name;
		char command;
		struct str in;
		int r;
		uint32_t index;
		const char *a, *b;
	} t[] = {
		{ "continue", 'c', BYTES(""), 0, 0, "", "" },
		{ "add", 'h', BYTES("X\0y\0"), 0, 0, "X", "y" },
		{ "add an empty one", 'h', BYTES("X\0\0"), 0, 0, "X", "" },
		{ "insert", 'i', BYTES("\0\0\0\1X\0y\0"), 0, 1, "X", "y" },
		{ "change", 'm', BYTES("\377\377\377\377X\0y\0"), 0, 0xffffffff, "X", "y" },
		{ "recipient", '+', BYTES("<a@b>\0"), 0, 0, "<a@b>", "" },
		{ "recipient with parameters", '2', BYTES("<a@b>\0NOTIFY=NEVER\0"), 0, 0, "<a@b>", "NOTIFY=NEVER" },
		{ "sender alone", 'e', BYTES("<a@b>\0"), 0, 0, "<a@b>", "" },
		{ "text", 'y', BYTES("550 no\0"), 0, 0, "550 no", "" },
		{ "a piece of a body", 'b', BYTES("x\r\ny"), 0, 0, "x\r\ny", "" },
		{ "no NUL", '+', BYTES("<a@b>"), -1, 0, "", "" },
		{ "two strings", '+', BYTES("<a@b>\0x\0"), -1, 0, "", "" },
		{ "three strings", 'h', BYTES("X\0y\0z\0"), -1, 0, "", "" },
		{ "no name", 'h', BYTES(""), -1, 0, "", "" },
		{ "cut index", 'i', BYTES("\0\0\0"), -1, 0, "", "" },
		{ "index alone", 'm', BYTES("\0\0\0\1"), -1, 0, "", "" },
		{ "unknown", 'Z', BYTES(""), -1, 0, "", "" },
		{ "a second negotiation", 'O', BYTES(""), -1, 0, "", "" },
	};

	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		struct milter_reply r = { 0 };
		struct err e = { 0 };
		tap_is_int(milter_reply_get(t[i].command, t[i].in, &r, &e), t[i].r, "reply: %s", t[i].name);
		if (t[i].r == 0)
			tap_ok(r.index == t[i].index && str_eq(r.a, str_c(t[i].a)) && str_eq(r.b, str_c(t[i].b)), "reply: %s: its parts", t[i].name);
	}
}

static void test_texts(void)
{
	static const struct {
		const char *in;
		int code;
		const char *enhanced, *text;
	} t[] = {
		{ "550 5.7.1 no", 550, "5.7.1", "no" }, { "450 later", 450, "", "later" }, { "550", 550, "", "" },
		{ "550-5.7.1 one\r\n550 5.7.1 two", 550, "5.7.1", "one\ntwo" }, { "550-one\n550 two", 550, "", "one\ntwo" }, { "550 100%% sure, 5% not", 550, "", "100% sure, 5% not" },
		{ "550 4.7.1 x", 550, "", "4.7.1 x" },
		{ "250 fine", 0, "", "" }, { "999 x", 0, "", "" }, { "no code", 0, "", "" }, { "", 0, "", "" }, { "550 a\r\n450 b", 0, "", "" }, { "550 a\r\nb", 0, "", "" }, { "55", 0, "", "" },
		{ "\r\n", 0, "", "" },
	};

	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		char enhanced[MILTER_ENHANCED_MAX];
		struct err e = { 0 };
		struct buf text;
		int code = 0;
		buf_init(&text, 100);
		const int r = milter_text_get(str_c(t[i].in), &code, enhanced, &text, &e);
		tap_is_int(r, t[i].code ? 0 : -1, "text, row %zu", i);
		if (r == 0) {
			tap_is_int(code, t[i].code, "text, row %zu: code", i);
			tap_is_str(enhanced, t[i].enhanced, "text, row %zu: enhanced code", i);
			tap_is_mem(buf_view(&text), str_c(t[i].text), "text, row %zu: text", i);
		}
		buf_fini(&text);
	}
}

static void test_sent(void)
{
	static const struct str v[] = { { "a\0b", 3 }, { "", 0 } };
	struct buf b;

	buf_init(&b, 1000);
	milter_put(&b, 'E', STR("xy"));
	tap_is_mem(buf_view(&b), WANT("\0\0\0\3Exy"), "a packet");
	buf_reset(&b);
	milter_put_strings(&b, 'L', v, 2);
	tap_is_mem(buf_view(&b), WANT("\0\0\0\6La?b\0\0"), "strings: a NUL inside cannot end one");
	buf_reset(&b);
	milter_put_options(&b, 6);
	tap_is_mem(buf_view(&b), WANT("\0\0\0\15O\0\0\0\6\0\0\1\377\0\37\367\377"), "our offer: all but refused recipients");
	buf_reset(&b);
	milter_put_options(&b, 2);
	tap_is_mem(buf_view(&b), WANT("\0\0\0\15O\0\0\0\2\0\0\0\77\0\0\0\177"), "our offer of version 2");
	buf_fini(&b);
}

static void test_names(void)
{
	static const struct {
		const char *in, *want;
	} t[] = {
		{ "inet:127.0.0.1:8891", "127.0.0.1:8891 0 6 1 2 3;" },
		{ "inet:a:1, unix:/run/x  inet6:[::1]:2", "a:1 0 6 1 2 3;/run/x 0 6 1 2 3;::1:2 0 6 1 2 3;" },
		{ "{ inet:a:1, default_action = accept, connect_timeout=5s, command_timeout=2m, content_timeout=1h, protocol=4 }, inet:b:2", "a:1 2 4 5 120 3600;b:2 0 6 1 2 3;" },
		{ "", "" }, { " , ", "" },
		{ "inet:a", "no;" }, { "{ inet:a:1", "no;" }, { "{ inet:a:1, x=y }", "no;" }, { "{inet:a:1,protocol=7}", "no;" }, { "{inet:a:1,default_action=drop}", "no;" },
		{ "{inet:a:1,connect_timeout=5x}", "no;" }, { "{inet:a:1,connect_timeout=0}", "no;" }, { "local:/x", "no;" },
	};

	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		struct str list = str_c(t[i].in), one;
		struct buf got;
		buf_init(&got, 1000);
		while (milter_list_next(&list, &one)) {
			struct milter_setting s = { .protocol = 6, .connect_ms = 1000, .command_ms = 2000, .content_ms = 3000 };
			struct err e = { 0 };
			if (milter_setting_parse(one, &s, &e) < 0) {
				buf_c(&got, "no;");
				continue;
			}
			if (s.target.host[0])
				buf_printf(&got, "%s:%u", s.target.host, s.target.port);
			else
				buf_c(&got, s.target.path);
			buf_printf(&got, " %d %u %llu %llu %llu;", (int)s.fallback, s.protocol, (unsigned long long)s.connect_ms / 1000, (unsigned long long)s.command_ms / 1000,
				   (unsigned long long)s.content_ms / 1000);
		}
		tap_is_mem(buf_view(&got), str_c(t[i].want), "milters \"%s\"", t[i].in);
		buf_fini(&got);
	}
}

int main(void)
{
	test_packets();
	test_options();
	test_replies();
	test_texts();
	test_sent();
	test_names();
	return tap_done();
}
