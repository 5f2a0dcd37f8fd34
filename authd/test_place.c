/* Paths of maildirs from the configuration: what is documented, and what Dovecot makes of the same words. */
#include "authd/place.h"
#include "test/tap.h"

static const struct {
	const char *location, *name, *home, *maildir;
} cases[] = {
	{ "", "joe", "/home/joe", "/home/joe/Maildir" },
	{ "", "joe@example.com", "/home/joe", "/home/joe/Maildir" },
	{ "~/mail/", "joe", "/home/joe", "/home/joe/mail" },
	{ "maildir:~/mail", "joe", "/home/joe", "/home/joe/mail" },
	{ "maildir:/var/mail/%d/%n", "joe@example.com", "/home/joe", "/var/mail/example.com/joe" },
	{ "/var/mail/%u/", "joe@example.com", "/home/joe", "/var/mail/joe@example.com" },
	{ "%h/%%/x", "joe", "/home/joe", "/home/joe/%/x" },
	{ "/var/mail/%1n/%1.1n/%n", "joe@example.com", "/home/joe", "/var/mail/j/o/joe" },
	{ "/var/mail/%2.1n/%n", "joe@example.com", "/home/joe", "/var/mail/e/joe" },
	{ "/var/mail/%5.2n/%3n", "jo@example.com", "/home/joe", "/var/mail//jo" },
	{ "/var/mail/%Ud/%2Ln", "joe@example.com", "/home/joe", "/var/mail/EXAMPLE.COM/jo" },
	{ "/var/mail/%d%n", "joe", "/home/joe", "/var/mail/joe" },
};

int main(void)
{
	char text[200];

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct account a = { 0 };
		struct conf *c;
		struct err e = { 0 };

		snprintf(text, sizeof(text), "myhostname = h.example\nmail_location = %s\n", cases[i].location);
		if (conf_parse(str_c(text), "x.conf", &c, NULL, &e) < 0) {
			tap_ok(false, "%s: %s", cases[i].location, e.text);
			continue;
		}
		snprintf(a.name, sizeof(a.name), "%s", cases[i].name);
		snprintf(a.home, sizeof(a.home), "%s", cases[i].home);
		tap_is_int(place_account(c, &a), 0, "%s of %s", cases[i].location, cases[i].name);
		tap_is_str(a.maildir, cases[i].maildir, "is there");
		conf_free(&c);
	}
	return tap_done();
}
