/* Which addresses are this machine's: mail for them is local, and no server for mail that goes on. */
#include "base/arena.h"
#include "deliver/resolve/own.h"
#include "test/tap.h"

static const struct {
	const char *lines, *addr;
	bool own;
} cases[] = {
	{ "", "127.0.0.1", true },
	{ "", "::1", true },
	{ "", "127.0.0.2", true },
	{ "", "127.255.255.254", true },
	{ "", "128.0.0.1", false },
	{ "", "126.255.255.255", false },
	{ "", "::7f00:1", false },
	{ "inet_interfaces = 127.0.0.1", "127.0.0.1", true },
	{ "inet_interfaces = 127.0.0.1", "127.0.0.2", false },
	{ "inet_interfaces = loopback-only", "127.0.0.2", false },
	{ "inet_interfaces = 127.0.0.9, [2001:db8::5]", "127.0.0.9", true },
	{ "inet_interfaces = 127.0.0.9, [2001:db8::5]", "2001:db8::5", true },
	{ "smtp_listeners = 127.0.0.1:25", "127.0.0.2", false },
	{ "smtp_listeners = 127.0.0.1:25 587/submission", "127.0.0.2", false },
	{ "smtp_listeners = 127.0.0.3:25 *:25", "127.0.0.2", true },
	{ "smtp_listeners = 0.0.0.0:25", "127.0.0.2", true },
	{ "inet_interfaces = 127.0.0.1\nsmtp_listeners = *:25", "127.0.0.2", true },
	{ "smtp_listeners = 587/submission\nlistener.in = 25/smtp", "127.0.0.2", true },
	{ "smtp_listeners = 587/submission\nlistener.in = 127.0.0.1:25/smtp", "127.0.0.2", false },
	{ "proxy_interfaces = 192.0.2.77", "192.0.2.77", true },
	{ "", "192.0.2.77", false },
};

int main(void)
{
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct arena *a = arena_new(0);
		struct own_addresses own;
		struct conf *c;
		struct err e = { 0 };
		uint8_t addr[16];
		char text[300];

		snprintf(text, sizeof text, "myhostname = h.example\n%s\n", cases[i].lines);
		if (conf_parse(str_c(text), "x.conf", &c, NULL, &e) < 0 || addr_parse(str_c(cases[i].addr), addr) < 0) {
			tap_ok(false, "%s: %s", cases[i].lines, e.text);
			arena_free(&a);
			continue;
		}
		own_load(c, a, &own);
		tap_is_int(own_has(&own, addr), cases[i].own, "%s with \"%s\"", cases[i].addr, cases[i].lines);
		conf_free(&c);
		arena_free(&a);
	}
	return tap_done();
}
