/* Syntax, expansion, types, ranges, unknown names, derived values, listeners and networks. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/conf.h"
#include "conf/daemon.h"
#include "test/tap.h"

/* A Postfix main.cf as a first-time administrator has it; every line must be taken as it is. */
static const char main_cf[] =
	"myhostname = mail.example.com\n"
	"mydomain = example.com\n"
	"myorigin = $mydomain\n"
	"mydestination = $myhostname localhost.$mydomain localhost $mydomain\n"
	"mynetworks_style = subnet\n"
	"relay_domains = $mydestination\n"
	"notify_classes = resource, software\n"
	"relayhost =\n"
	"proxy_interfaces = 1.2.3.4\n"
	"inet_interfaces = all\n"
	"message_size_limit = 20971520\n"
	"masquerade_domains = $mydomain\n"
	"mail_name = MyOwnPostOffice\n"
	"home_mailbox = email/\n"
	"smtpd_sasl_auth_enable = yes\n"
	"broken_sasl_auth_clients = yes\n"
	"smtpd_recipient_restrictions =\n"
	"  permit_mynetworks\n"
	"  permit_sasl_authenticated\n"
	"  reject_unauth_destination\n"
	"  reject_invalid_hostname\n"
	"  reject_unknown_sender_domain\n";

static struct conf *load(const char *text, struct buf *problems)
{
	struct conf *c = NULL;
	struct err e = { 0 };

	buf_init(problems, 65536);
	if (conf_parse(str_c(text), "x.conf", &c, problems, &e) < 0)
		tap_diag("%s", e.text);
	return c;
}

static bool list_is(struct conf_list l, const char *want)
{
	struct buf b;

	buf_init(&b, 4096);
	for (size_t i = 0; i < l.n; i++)
		buf_printf(&b, "%s%s", i ? " " : "", l.v[i]);
	const bool same = str_eq(buf_view(&b), str_c(want));

	if (!same)
		tap_diag("got \"%s\"", b.p);
	buf_fini(&b);
	return same;
}

static void postfix_file(void)
{
	struct buf problems;
	struct conf *c = load(main_cf, &problems);

	tap_is_mem(buf_view(&problems), STR(""), "a Postfix main.cf is taken without a word");
	if (!c)
		return;
	tap_is_str(c->myorigin, "example.com", "$name expands");
	tap_ok(list_is(c->mydestination, "mail.example.com localhost.example.com localhost example.com"), "lists split at blanks");
	tap_ok(list_is(c->relay_domains, "mail.example.com localhost.example.com localhost example.com"), "references nest");
	tap_ok(list_is(c->smtpd_recipient_restrictions, "permit_mynetworks permit_sasl_authenticated reject_unauth_destination reject_invalid_hostname "
							"reject_unknown_sender_domain"),
	       "a value may stand on the lines that follow");
	tap_is_int((long long)c->message_size_limit, 20971520, "numbers");
	tap_ok(c->broken_sasl_auth_clients, "yes is true");
	tap_is_str(c->relayhost, "", "a value may be empty");
	tap_is_str(c->home_mailbox, "email/", "text");
	tap_is_str(c->smtpd_banner, "mail.example.com ESMTP MyOwnPostOffice", "defaults expand too");
	tap_ok(c->mynetworks.n >= 2, "mynetworks_style derives networks, loopback first");
	conf_free(&c);
	buf_fini(&problems);
}

/* A process that may make no socket any more reads its configuration again: the networks stay what they were. */
static void networks_when_confined(void)
{
	struct buf problems, later;
	struct conf *before = load("mynetworks_style = subnet\n", &problems), *after;
	struct rlimit files, none;

	getrlimit(RLIMIT_NOFILE, &files);
	none = (struct rlimit){ 0, files.rlim_max };
	setrlimit(RLIMIT_NOFILE, &none);
	after = load("mynetworks_style = subnet\n", &later);
	setrlimit(RLIMIT_NOFILE, &files);
	tap_ok(before && after && later.n == 0 && before->mynetworks.n == after->mynetworks.n, "interfaces that cannot be listed again are the last ones");
	conf_free(&before);
	conf_free(&after);
	buf_fini(&problems);
	buf_fini(&later);
}

static void defaults(void)
{
	struct buf problems;
	struct conf *c = load("", &problems);

	tap_ok(c && problems.n == 0, "an empty file is a configuration");
	if (!c)
		return;
	tap_is_int((long long)c->mynetworks.n, 0, "no network may relay by default");
	tap_ok(c->smtpd_tls_auth_only, "AUTH needs TLS by default");
	tap_ok(strchr(c->myhostname, '.') != NULL, "myhostname has a domain (%s)", c->myhostname);
	tap_ok(c->mydomain[0] && strstr(c->myhostname, c->mydomain), "mydomain follows myhostname (%s)", c->mydomain);
	tap_is_str(c->virtual_mail_directory, "/var/lib/postern/mail", "derived directories");
	tap_is_int((long long)c->maximal_queue_lifetime, 432000, "defaults have their units");
	conf_free(&c);
	buf_fini(&problems);
	c = load("myhostname = mx.a.example\n", &problems);
	tap_is_str(c ? c->mydomain : "", "a.example", "mydomain is myhostname without its first label");
	conf_free(&c);
	buf_fini(&problems);
}

/* Each text gives exactly these problem lines. */
static const struct {
	const char *name, *text, *want;
} problem_cases[] = {
	{ "unknown name", "frobnicate = 1\n", "x.conf:1: frobnicate: no such parameter, and no value refers to it\n" },
	{ "mistyped name", "\nmyhostnam = a.b\n", "x.conf:2: myhostnam: no such parameter, and no value refers to it; meant is perhaps myhostname\n" },
	{ "a name that a value refers to", "where = /x\nstate_directory = $where\n", "" },
	{ "a name that a name refers to", "a1 = /x\nb1 = $a1\nstate_directory = $b1\n", "" },
	{ "Postfix's name", "hash_queue_depth = 1\n", "x.conf:1: warning: hash_queue_depth: not used by Postern\n" },
	{ "Postfix's name, with what is there instead", "mailbox_size_limit = 0\n",
	  "x.conf:1: warning: mailbox_size_limit: not used by Postern: it is quota_storage, and postern user quota\n" },
	{ "a name that begins with a digit", "2bounce_notice_recipient = x\n3bounce = y\n", "x.conf:2: 3bounce: no such parameter, and no value refers to it\n" },
	{ "Postfix's transport name", "smtp-amavis_destination_recipient_limit = 1\n",
	  "x.conf:1: warning: smtp-amavis_destination_recipient_limit: not used by Postern\n" },
	{ "set twice", "myorigin = a\nmyorigin = b\n", "x.conf:2: warning: myorigin: replaces the value of line 1\n" },
	{ "no equals sign", "myorigin\n", "x.conf:1: \"myorigin\": no \"=\" (allowed: name = value)\n" },
	{ "bad name", "my origin = x\n", "x.conf:1: \"my origin\" is not a parameter's name (allowed: letters, digits, _ - .)\n" },
	{ "continuation of nothing", "  x = y\n", "x.conf:1: continues nothing (a line that starts with a blank belongs to the one before it)\n" },
	{ "no protocol", "inet_protocols = ipv5\n", "x.conf:1: inet_protocols: \"ipv5\" (allowed: all, ipv4, ipv6)\n" },
	{ "no protocols", "inet_protocols =\n", "x.conf:1: inet_protocols: empty (allowed: all, ipv4, ipv6)\n" },
	{ "no interface of the protocol", "inet_protocols = ipv4\ninet_interfaces = ::1\nimap_listeners =\npop3_listeners =\n",
	  "x.conf: smtp_listeners: inet_interfaces has no address of inet_protocols\n" },
	{ "bool", "smtpd_sasl_auth_enable = maybe\n", "x.conf:1: smtpd_sasl_auth_enable: \"maybe\" (allowed: yes, no)\n" },
	{ "number too small", "hopcount_limit = 0\n", "x.conf:1: hopcount_limit: \"0\" (allowed: 1 to 1000)\n" },
	{ "number overflow", "hopcount_limit = 99999999999999999999999\n",
	  "x.conf:1: hopcount_limit: \"99999999999999999999999\" (allowed: 1 to 1000)\n" },
	{ "size overflow", "message_size_limit = 999999999999G\n",
	  "x.conf:1: message_size_limit: \"999999999999G\" (allowed: 1024 to 1099511627776 bytes; suffixes k m g)\n" },
	{ "trailing junk", "smtpd_timeout = 300x\n", "x.conf:1: smtpd_timeout: \"300x\" (allowed: 5s to 1h; suffixes s m h d w; a bare number is seconds)\n" },
	{ "negative", "smtpd_timeout = -1\n", "x.conf:1: smtpd_timeout: \"-1\" (allowed: 5s to 1h; suffixes s m h d w; a bare number is seconds)\n" },
	{ "enum", "front_mode = wild\n", "x.conf:1: front_mode: \"wild\" (allowed: isolated, shared)\n" },
	{ "empty enum", "mynetworks_style =\n", "" },
	{ "undefined reference", "myorigin = $nowhere\n", "x.conf:1: myorigin: $nowhere is not defined\n" },
	{ "circle", "myorigin = $mail_name\nmail_name = $myorigin\n",
	  "x.conf:1: myorigin: $ references go in a circle, or more than 20 deep\n"
	  "x.conf:2: mail_name: $ references go in a circle, or more than 20 deep\n"
	  "x.conf: smtpd_banner: $ references go in a circle, or more than 20 deep\n"
	  "x.conf: postscreen_greet_banner: $ references go in a circle, or more than 20 deep\n"
	  "x.conf: milter_macro_v: $ references go in a circle, or more than 20 deep\n" },
	{ "open bracket", "myorigin = ${mydomain\n", "x.conf:1: myorigin: bad $ reference (allowed: $name, ${name}, ${name?text}, ${name:text}, ${name?{text}:{other}}, $$)\n" },
	{ "bad network", "mynetworks = 10.0.0.1/8\n", "x.conf:1: mynetworks: \"10.0.0.1/8\": bits are set after the prefix\n"
	  "x.conf: smtpd_client_event_limit_exceptions: \"10.0.0.1/8\": bits are set after the prefix\n" },
	{ "listener", "smtp_listeners = 25/smtp 99999\n",
	  "x.conf:1: smtp_listeners: \"99999\": bad port (allowed: [address:]port[/profile], IPv6 in brackets)\n" },
	{ "listener line: bad port", "listener.x = 99999/smtp\n",
	  "x.conf:1: listener.x: \"99999/smtp\": bad port (allowed: [address:]port[/profile], IPv6 in brackets)\n" },
	{ "listener line: which profile?", "listener.x = 725\n",
	  "x.conf:1: listener.x: \"725\": this port needs a profile (allowed: [address:]port[/profile], IPv6 in brackets)\n" },
	{ "listener line: nothing", "listener.x =\n", "x.conf:1: listener.x: no port (allowed: [address:]port[/profile] [-o name=value])\n" },
	{ "listener line: no such parameter", "listener.x = 725/smtp -o smtpd_bannr=x\n", "x.conf:1: listener.x: -o smtpd_bannr: no such parameter\n" },
	{ "listener line: not of a listener", "listener.x = 725/smtp -o queue_directory=/x\n", "x.conf:1: listener.x: -o queue_directory: cannot be set for one listener\n" },
	{ "a time in days", "maximal_queue_lifetime = 101\n", "x.conf:1: maximal_queue_lifetime: \"101\" (allowed: 0s to 100d; suffixes s m h d w; a bare number is days)\n" },
	{ "a time in hours", "delay_warning_time = 5x\n", "x.conf:1: delay_warning_time: \"5x\" (allowed: 0s to 100d; suffixes s m h d w; a bare number is hours)\n" },
	{ "listener line: a bad value", "\nlistener.x = 725/smtp -o smtpd_timeout=x\n", "x.conf:2: smtpd_timeout: \"x\" (allowed: 5s to 1h; suffixes s m h d w; a bare number is seconds)\n" },
	{ "listener line: an open relay", "listener.x = 725/smtp -o smtpd_relay_restrictions=permit\n",
	  "x.conf:1: smtpd_relay_restrictions: neither this nor smtpd_recipient_restrictions has reject_unauth_destination: an open relay\n" },
	{ "listener line: no -o", "listener.x = 725/smtp smtpd_banner=x\n",
	  "x.conf:1: listener.x: \"smtpd_banner=x\" (allowed: -o name=value, -o { name = value })\n" },
	{ "listener line: an open brace", "listener.x = 725/smtp -o { smtpd_banner = x\n",
	  "x.conf:1: listener.x: \"-o\" (allowed: -o name=value, -o { name = value })\n" },
	{ "listener line: its name", "listener.a.b = 725/smtp\n", "x.conf:1: listener.a.b: the name of a listener has letters, digits, - and _, at most 31\n" },
	{ "mail_location: options", "mail_location = maildir:~/Maildir:LAYOUT=fs\n",
	  "x.conf:1: mail_location: \"maildir:~/Maildir:LAYOUT=fs\": folders of that layout are copied to this one: give the path alone, and run "
	  "\"postern import maildir --layout fs --user USER PATH\" for each user\n" },
	{ "mail_location: another format", "mail_location = mdbox:~/mdbox\n",
	  "x.conf:1: mail_location: \"mdbox:~/mdbox\": one Maildir's path is wanted, without another format or options behind a \":\"\n" },
	{ "mail_location: relative", "mail_location = mail/%u\n",
	  "x.conf:1: mail_location: \"mail/%u\": the path must begin with /, ~/ or %h/\n" },
	{ "mail_location: a letter", "mail_location = /mail/%s\n",
	  "x.conf:1: mail_location: \"/mail/%s\": after % is allowed: u n d h, before it L or U, before that [offset.]width; %% for itself\n" },
	{ "mail_location: a hash", "mail_location = /mail/%2.256Hn\n",
	  "x.conf:1: mail_location: \"/mail/%2.256Hn\": after % is allowed: u n d h, before it L or U, before that [offset.]width; %% for itself\n" },
	{ "mail_location: nothing of it", "mail_location = /mail/%0n\n",
	  "x.conf:1: mail_location: \"/mail/%0n\": after % is allowed: u n d h, before it L or U, before that [offset.]width; %% for itself\n" },
	{ "mail_location: cut", "mail_location = /mail/%L\n",
	  "x.conf:1: mail_location: \"/mail/%L\": after % is allowed: u n d h, before it L or U, before that [offset.]width; %% for itself\n" },
	{ "mail_location: all of it", "mail_location = maildir:%h/%%/%d/%1n/%2.1n/%1.200Ln/%Ud/%u\n", "" },
	{ "UIDL: a hash", "pop3_uidl_format = %m\n",
	  "x.conf:1: pop3_uidl_format: \"%m\": after % is allowed: f g u v, before u and v 0, a width to 70, X; %% for itself\n" },
	{ "UIDL: cut", "pop3_uidl_format = %08X\n",
	  "x.conf:1: pop3_uidl_format: \"%08X\": after % is allowed: f g u v, before u and v 0, a width to 70, X; %% for itself\n" },
	{ "UIDL: wide", "pop3_uidl_format = %071u\n",
	  "x.conf:1: pop3_uidl_format: \"%071u\": after % is allowed: f g u v, before u and v 0, a width to 70, X; %% for itself\n" },
	{ "UIDL: long", "pop3_uidl_format = %040u%031v\n",
	  "x.conf:1: pop3_uidl_format: \"%040u%031v\": it can be longer than the 70 bytes of an id (RFC 1939)\n" },
	{ "UIDL: a name in hexadecimal", "pop3_uidl_format = %Xf\n",
	  "x.conf:1: pop3_uidl_format: \"%Xf\": after % is allowed: f g u v, before u and v 0, a width to 70, X; %% for itself\n" },
	{ "UIDL: blanks", "pop3_uidl_format = %u %v\n",
	  "x.conf:1: pop3_uidl_format: \"%u %v\": blanks and other than ASCII characters cannot stand in an id (RFC 1939)\n" },
	{ "UIDL: filled up with blanks", "pop3_uidl_format = %8Xu\n",
	  "x.conf:1: pop3_uidl_format: \"%8Xu\": a width is filled up with blanks, which cannot stand in an id: %0 and the width are wanted\n" },
	{ "UIDL: all the same", "pop3_uidl_format = x%08Xv\n",
	  "x.conf:1: pop3_uidl_format: \"x%08Xv\": without %u, %f or %g all messages would have the same id\n" },
	{ "UIDL: empty", "pop3_uidl_format =\n", "x.conf:1: pop3_uidl_format: \"\": without %u, %f or %g all messages would have the same id\n" },
	{ "UIDL: all of it", "pop3_uidl_format = %%%08Xu-%v.%Xu.%010u%f%g\n", "" },
	{ "relative directory", "run_directory = run\n", "x.conf:1: run_directory: \"run\" (allowed: an absolute path)\n" },
	{ "open relay", "smtpd_relay_restrictions = permit\n",
	  "x.conf:1: smtpd_relay_restrictions: neither this nor smtpd_recipient_restrictions has reject_unauth_destination: an open relay\n" },
	{ "key without certificate", "tls_key_file = /k\n", "x.conf: tls_cert_file, tls_key_file: one is set without the other\n" },
	{ "certificates beside none", "tls_alt_cert_files = /c\ntls_alt_key_files = /k\n", "x.conf: tls_alt_cert_files: tls_cert_file is not set\n" },
	{ "certificates and fewer keys", "tls_cert_file = /c\ntls_key_file = /k\ntls_alt_cert_files = /d, /e\ntls_alt_key_files = /k\n",
	  "x.conf: tls_alt_cert_files, tls_alt_key_files: 2 certificates and 1 keys (allowed: as many of both, at most 2)\n" },
	{ "certificates by name without a first", "tls_server_sni_maps = texthash:/m\n", "x.conf:1: tls_server_sni_maps: tls_cert_file, for clients that ask for no name, is not set\n" },
	{ "certificates by name, compiled", "tls_cert_file = /c\ntls_key_file = /k\ntls_server_sni_maps = texthash:/m, hash:/sni\n",
	  "x.conf:3: tls_server_sni_maps: hash:/sni (allowed: texthash:/file; it is read whole and names files, so nothing is compiled)\n" },
	{ "invalid UTF-8", "myorigin = \xff\n", "x.conf:1: is not valid UTF-8\n" },
	{ "every mistake, not the first", "a2 = 1\nhopcount_limit = x\nmyorigin\n",
	  "x.conf:3: \"myorigin\": no \"=\" (allowed: name = value)\nx.conf:2: hopcount_limit: \"x\" (allowed: 1 to 1000)\n"
	  "x.conf:1: a2: no such parameter, and no value refers to it\n" },
};

static void problems_told(void)
{
	for (size_t i = 0; i < ARRAY_LEN(problem_cases); i++) {
		struct buf problems;
		struct conf *c = load(problem_cases[i].text, &problems);

		tap_is_mem(buf_view(&problems), str_c(problem_cases[i].want), "told: %s", problem_cases[i].name);
		conf_free(&c);
		buf_fini(&problems);
	}
}

static void nul_byte(void)
{
	struct buf problems;
	struct conf *c = NULL;

	buf_init(&problems, 4096);
	tap_ok(conf_parse(STR("a = b\0c\n"), "x.conf", &c, &problems, NULL) < 0, "a NUL byte is refused");
	tap_is_str(problems.p, "x.conf:1: holds a NUL byte\n", "with its line");
	buf_fini(&problems);
}

/* A value of more than its maximum, made of continuation lines; and a tower of doubled references. */
static void too_long(void)
{
	struct buf text, problems;
	struct conf *c = NULL;

	buf_init(&text, 1 << 20);
	buf_init(&problems, 65536);
	buf_c(&text, "myorigin = a\n");
	for (int i = 0; i < 9000; i++)
		buf_c(&text, "  0123456789\n");
	int r = conf_parse(buf_view(&text), "x.conf", &c, &problems, NULL);

	tap_ok(r < 0, "a value of 100 kB is refused (%s)", problems.p);
	buf_reset(&text);
	buf_reset(&problems);
	buf_c(&text, "a0 = x\n");
	for (int i = 1; i < 18; i++)
		buf_printf(&text, "a%d = $a%d$a%d\n", i, i - 1, i - 1);
	buf_c(&text, "myorigin = $a17\n");
	r = conf_parse(buf_view(&text), "x.conf", &c, &problems, NULL);
	tap_ok(r < 0, "references that double 17 times are refused (%s)", problems.p);
	buf_fini(&text);
	buf_fini(&problems);
}

static void expansion(void)
{
	static const struct { const char *text, *want; } cases[] = {
		{ "$mydomain", "d.example" },
		{ "${mydomain}x", "d.examplex" },
		{ "$(mydomain)", "d.example" },
		{ "${mydomain?yes}", "yes" },
		{ "${mydomain:no}", "" },
		{ "${relayhost?yes}", "" },
		{ "${relayhost:no $mydomain}", "no d.example" },
		{ "a$$b", "a$b" },
		{ "${nothing?x}", "" },
		{ "$mydomain.$mydomain", "d.example.d.example" },
		{ "  blanks  around  ", "blanks  around" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf text, problems;

		buf_init(&text, 1024);
		buf_printf(&text, "mydomain = d.example\nmyorigin = %s\n", cases[i].text);
		struct conf *c = load(text.p, &problems);

		tap_is_str(c ? c->myorigin : problems.p, cases[i].want, "expands: %s", cases[i].text);
		conf_free(&c);
		buf_fini(&text);
		buf_fini(&problems);
	}
}

static void units(void)
{
	struct buf problems;
	struct conf *c = load("message_size_limit = 30m\nsmtpd_timeout = 2m\nmaximal_queue_lifetime = 5\ndelay_warning_time = 4\n"
			      "minimal_backoff_time = 300\nmaximal_backoff_time = 1h\naddress_verify_positive_expire_time = 20\naddress_verify_negative_refresh_time = 2\n",
			      &problems);

	tap_ok(c != NULL, "units are taken %s", problems.p);
	if (!c)
		return;
	tap_is_int((long long)c->message_size_limit, 30 << 20, "30m");
	tap_is_int((long long)c->smtpd_timeout, 120, "2m");
	tap_is_int((long long)c->maximal_queue_lifetime, 5 * 86400, "bare numbers are days where Postfix has days");
	tap_is_int((long long)c->delay_warning_time, 4 * 3600, "and hours where Postfix has hours");
	tap_is_int((long long)c->maximal_backoff_time, 3600, "1h");
	tap_is_int((long long)c->address_verify_positive_expire_time, 20 * 86400, "days for a verified address");
	tap_is_int((long long)c->address_verify_negative_refresh_time, 2 * 3600, "hours for one that was refused");
	conf_free(&c);
	buf_fini(&problems);
}

static void syntax(void)
{
	struct buf problems;
	struct conf *c = load("# comment\r\nmyhostname=a.b.example\r\n\n# between\nmydestination = one,\n"
			      "# inside\n\n\ttwo\n   three # not a comment\n", &problems);

	tap_ok(c != NULL, "comments and empty lines inside a value %s", problems.p);
	if (!c)
		return;
	tap_is_str(c->myhostname, "a.b.example", "blanks around = are optional, CR at the end is dropped");
	tap_ok(list_is(c->mydestination, "one two three # not a comment"), "a mark inside a line is text");
	conf_free(&c);
	buf_fini(&problems);
	c = load("alias_maps = hash:/a inline:{ x=y, z = t },cdb:/b\n", &problems);
	tap_ok(c && c->alias_maps.n == 3 && strcmp(c->alias_maps.v[1], "inline:{ x=y, z = t }") == 0, "braces keep a word together");
	conf_free(&c);
	buf_fini(&problems);
}

static void listeners(void)
{
	static const struct { const char *rows, *want; } cases[] = {
		{ "127.0.0.1:25 [::1]:2525/submission", "127.0.0.1 25 smtp, ::1 2525 submission" },
		{ "25/smtp *:26/smtp [::1]:27/smtp\ninet_protocols = ipv4", "0.0.0.0 25 smtp, 0.0.0.0 26 smtp, ::1 27 smtp" },
		{ "25/smtp *:26/smtp 127.0.0.1:27/smtp\ninet_protocols = ipv6", ":: 25 smtp, :: 26 smtp, 127.0.0.1 27 smtp" },
		{ "25/smtp\ninet_protocols = ipv4, ipv6", " 25 smtp" },
		{ "25/smtp\ninet_protocols = ipv6\ninet_interfaces = loopback-only, 192.0.2.1, [2001:db8::1]", "::1 25 smtp, 2001:db8::1 25 smtp" },
		{ "25/smtp\ninet_protocols = ipv4\ninet_interfaces = localhost, 192.0.2.1, 2001:db8::1", "127.0.0.1 25 smtp, 192.0.2.1 25 smtp" },
		{ "465 587", " 465 submissions,  587 submission" },
		{ "submissions", " 465 submissions" },
		{ "*:25/smtp", " 25 smtp" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf text, problems, got;
		struct conf_listener *l = NULL;
		struct arena *a = arena_new(0);
		size_t n = 0;

		buf_init(&text, 1024);
		buf_init(&got, 1024);
		buf_printf(&text, "smtp_listeners = %s\n", cases[i].rows);
		struct conf *c = load(text.p, &problems);

		if (c && conf_listeners(c, c->smtp_listeners, "smtp", a, &l, &n, NULL) < 0)
			n = 0;
		for (size_t k = 0; k < n; k++)
			buf_printf(&got, "%s%s %u %s", k ? ", " : "", l[k].host, l[k].port, l[k].profile);
		tap_is_mem(buf_view(&got), str_c(cases[i].want), "listeners: %s", cases[i].rows);
		conf_free(&c);
		arena_free(&a);
		buf_fini(&text);
		buf_fini(&got);
		buf_fini(&problems);
	}
}

/* "listener.NAME" lines: where they listen, what holds there. */
static void listener_lines(void)
{
	static const char text[] = "smtp_listeners = 25/smtp\nmynetworks = 10.0.0.0/8\nsmtpd_timeout = ${stress?{7}:{200}}s\n"
				   "listener.alternate = 725/smtp\n"
				   "listener.scan_1 = 10.0.0.1:2525/smtp -o smtpd_tls_auth_only=no -o { smtpd_banner = $myhostname for scanners }\n -o mynetworks=192.0.2.0/24\n"
				   "listener.p = 127.0.0.1:710/pop3\nmyhostname = m.example\n";
	struct buf problems;
	struct conf *c = load(text, &problems);
	struct arena *a = arena_new(0);
	struct conf_listener *l = NULL;
	size_t n = 0;

	if (!tap_ok(c != NULL, "listener lines: %s", problems.p ? problems.p : ""))
		return;
	tap_ok(conf_listeners(c, c->smtp_listeners, "smtp", a, &l, &n, NULL) == 0 && n == 3 && l[1].port == 725 && strcmp(l[1].name, "alternate") == 0 &&
	       strcmp(l[2].host, "10.0.0.1") == 0 && strcmp(l[2].name, "scan_1") == 0 && l[0].name[0] == 0, "they listen beside the list");
	tap_ok(conf_listeners(c, c->pop3_listeners, "pop3", a, &l, &n, NULL) == 0 && n == 3 && l[2].port == 710, "a port of another service");
	const struct conf *o = conf_for(c, STR("scan_1"), false);
	tap_ok(!o->smtpd_tls_auth_only && c->smtpd_tls_auth_only && strcmp(o->smtpd_banner, "m.example for scanners") == 0 && strcmp(o->mynetworks.v[0], "192.0.2.0/24") == 0 &&
	       o->smtpd_timeout == 200, "its overrides hold, and nothing else is changed");
	tap_ok(conf_for(c, STR("alternate"), false) == c && conf_for(c, STR("nobody"), false) == c && conf_for(c, STR(""), false) == c, "no overrides: the file's own");
	o = conf_for(c, STR("scan_1"), true);
	tap_ok(o->smtpd_timeout == 7 && o->smtpd_hard_error_limit == 1 && !o->smtpd_tls_auth_only, "under stress");
	conf_free(&c);
	arena_free(&a);
	buf_fini(&problems);
}

static void networks(void)
{
	static const struct { const char *list, *addr; bool want; } cases[] = {
		{ "10.0.0.0/8", "10.9.8.7", true },
		{ "10.0.0.0/8", "11.0.0.1", false },
		{ "10.0.0.0/8", "::ffff:10.1.1.1", true },
		{ "!10.1.0.0/16 10.0.0.0/8", "10.1.2.3", false },
		{ "10.0.0.0/8 !10.1.0.0/16", "10.1.2.3", true },
		{ "[2001:db8::]/32", "2001:db8:1::1", true },
		{ "2001:db8::/32", "2001:db9::1", false },
		{ "[2001:db8::/32]", "2001:db8::1", true },
		{ "192.0.2.1", "192.0.2.1", true },
		{ "192.0.2.1", "192.0.2.2", false },
		{ "0.0.0.0/0", "203.0.113.9", true },
		{ "0.0.0.0/0", "2001:db8::1", false },
		{ "10.0.0.0/25", "10.0.0.128", false },
	};
	static const char *const bad[] = { "", "!", "10.0.0.0/33", "10.0.0.0/", "10.0.0.256", "[::1", "1.2.3.4/0", "x", "[::]/129", "10.0.0.0/8/8" };

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct str rest = str_c(cases[i].list), word;
		struct cidr list[4];
		uint8_t addr[16];
		size_t n = 0;
		bool ok = addr_parse(str_c(cases[i].addr), addr) == 0;

		while (str_token(&rest, " ", &word))
			ok &= cidr_parse(word, &list[n++], NULL) == 0;
		tap_ok(ok && cidr_match(list, n, addr) == cases[i].want, "%s is %sin %s", cases[i].addr, cases[i].want ? "" : "not ", cases[i].list);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct cidr c;

		tap_ok(cidr_parse(str_c(bad[i]), &c, NULL) < 0, "no network: \"%s\"", bad[i]);
	}
}

static void cut_anywhere(void)
{
	bool alive = true;

	for (size_t n = 0; n <= sizeof(main_cf) - 1; n++) {
		struct conf *c = NULL;

		if (conf_parse(str_n(main_cf, n), "x.conf", &c, NULL, NULL) == 0)
			alive &= c != NULL;
		conf_free(&c);
	}
	tap_ok(alive, "a file cut anywhere is taken or refused");
}

static void files(void)
{
	char name[] = "/tmp/test_conf.XXXXXX";
	const int fd = mkstemp(name);
	struct conf *c = NULL;
	struct err e = { 0 };

	tap_ok(fd >= 0 && write(fd, "myhostname = f.example\n", 23) == 23, "a file");
	tap_is_int(conf_load(name, &c, NULL, &e), 0, "loads %s", e.text);
	tap_ok(c && c->conf_file && strcmp(c->conf_dir, "/tmp") == 0, "and knows its place");
	conf_free(&c);
	if (geteuid() == 0 && fchmod(fd, 0666) == 0)
		tap_ok(conf_load(name, &c, NULL, &e) < 0, "others may not write it (%s)", e.text);
	close(fd);
	unlink(name);
	tap_ok(conf_load(name, &c, NULL, &e) < 0 && e.code == ERR_CONF, "a missing file is an error (%s)", e.text);
}

/* --- the command line of a daemon --- */

static void daemon_line(void)
{
	static const struct daemon_usage all = { .program = "d", .separate = "ports are bound", .inetd = "descriptor 0" }, few = { .program = "d" };
	static const struct {
		const struct daemon_usage *usage;
		const char *words[5];
		int status;
		struct daemon_options out;
	} cases[] = {
		{ &few, { "d" }, -1, { 0 } },
		{ &few, { "d", "-fnv", "-c", "x" }, -1, { .conf_file = "x", .foreground = true, .unconfined = true, .verbose = true } },
		{ &all, { "d", "-s", "-t", "-i" }, -1, { .separate = true, .test = true, .inetd = true } },
		{ &few, { "d", "--no-sandbox" }, -1, { .unconfined = true } },
		{ &few, { "d", "-s" }, 64, { 0 } },	/* not taken by this one */
		{ &few, { "d", "-i" }, 64, { 0 } },
		{ &all, { "d", "-x" }, 64, { 0 } },
		{ &all, { "d", "-c" }, 64, { 0 } },
		{ &all, { "d", "word" }, 64, { 0 } },
		{ &all, { "d", "--help" }, 0, { 0 } },
		{ &all, { "d", "--version" }, 0, { 0 } },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char *words[6] = { NULL };
		struct daemon_options o;
		int n = 0;

		for (; cases[i].words[n]; n++)
			words[n] = xstrdup(cases[i].words[n]);
		optind = 0;	/* getopt begins anew */
		const int status = daemon_options_get(n, words, cases[i].usage, &o);
		const struct daemon_options *w = &cases[i].out;
		tap_is_int(status, cases[i].status, "status of d %s", n > 1 ? cases[i].words[1] : "");
		if (status < 0)
			tap_ok(strcmp(o.conf_file, w->conf_file ? w->conf_file : conf_default_file()) == 0 && o.foreground == w->foreground && o.separate == w->separate &&
				       o.test == w->test && o.verbose == w->verbose && o.unconfined == w->unconfined && o.inetd == w->inetd, "what is set");
		for (int k = 0; k < n; k++)
			free(words[k]);
	}
}

int main(void)
{
	daemon_line();
	postfix_file();
	networks_when_confined();
	defaults();
	problems_told();
	nul_byte();
	too_long();
	expansion();
	units();
	syntax();
	listeners();
	listener_lines();
	networks();
	cut_anywhere();
	files();
	return tap_done();
}
