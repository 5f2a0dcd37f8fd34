/* Where addresses end: classes, virtual aliases, catch-alls, aliases(5), accounts, extensions, loops, trouble. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "deliver/resolve/test_scene.h"
#include "test/tap.h"

/* "class: kind address=user+extension by owner …" or "class: code enhanced". */
static void describe(const struct ipc_resolve_RESULT *r, struct buf *out)
{
	buf_printf(out, "%.*s:", STR_ARG(r->class));
	if (r->code)
		buf_printf(out, " %llu %.*s", (unsigned long long)r->code, STR_ARG(r->enhanced));
	for (size_t i = 0; i < r->kinds.n; i++) {
		buf_printf(out, "%s %.*s %.*s", i ? "," : "", STR_ARG(r->kinds.v[i]), STR_ARG(r->addresses.v[i]));
		if (r->users.v[i].n)
			buf_printf(out, "=%.*s", STR_ARG(r->users.v[i]));
		if (r->extensions.v[i].n)
			buf_printf(out, "+%.*s", STR_ARG(r->extensions.v[i]));
		if (i < r->owners.n && r->owners.v[i].n)
			buf_printf(out, " by %.*s", STR_ARG(r->owners.v[i]));
	}
}

struct want {
	const char *address, *want;
};

static void check(struct resolver *r, const char *title, const struct want *cases, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct ipc_resolve_RESULT res, explained;
		struct arena *a = arena_new(0);
		struct buf got;

		buf_init(&got, 65536);
		resolver_answer(r, a, str_c(cases[i].address), false, &res);
		describe(&res, &got);
		bool ok = tap_is_str(got.p, cases[i].want, "%s: %s", title, cases[i].address);

		resolver_answer(r, a, str_c(cases[i].address), true, &explained);
		for (size_t k = 0; !ok && k < explained.steps.n; k++)
			tap_diag("  %.*s", STR_ARG(explained.steps.v[k]));
		tap_ok(explained.steps.n > 0 && str_eq(explained.class, res.class), "and the explanation says the same");
		buf_fini(&got);
		arena_free(&a);
	}
}

static const char aliases[] =
	"postmaster administrator\nroot administrator\nsuzan.smith susan\nspam.police administrator\n"
	"list joe, susan, far@remote.example\nowner-list boss\n"
	"nested list, boss\nself self, joe\nback \\joe\nquoted \"joe smith\"@remote.example\n"
	"loop1 loop2\nloop2 loop1\nfile /var/mail/x\ncmd \"|/usr/bin/prog -a, -b\"\ninc :include:/etc/list\n"
	"dead nobody.here\nhalf joe, nobody.here\nnamed Joe Doe <joe@example.com> (the boss)\nupper JOE@EXAMPLE.COM\n"
	"far x@remote.example\nvia alice@vmail.example\njoe+tagged susan\nopen \"joe\nchief+x boss\n";
static const char virtual[] =
	"sales@example.com susan@example.com\nsales@myhome.example john@example.com\nmyhome.example x\n"
	"ident@example.com joe@example.com\njoe@example.com joe@example.com, far@remote.example\n"
	"swap@example.com @vmail.example\nbare joe\nchain1@example.com chain2@example.com\nchain2@example.com boss\n"
	"vl1@example.com vl2@example.com\nvl2@example.com vl1@example.com\nbad@example.com |/bin/sh\n"
	"plus+tag@example.com boss@example.com\nplus@example.com john@example.com\nout@remote.example joe@example.com\n"
	"@catch.example john@example.com\ncatch.example x\nnamed@catch.example susan@example.com\n"
	"@vmail.example alice@vmail.example\n\"odd name\"@example.com boss@example.com\n";

static const struct want usual[] = {
	/* classes */
	{ "susan@example.com", "local: mailbox susan@example.com=susan" },
	{ "susan@mail.example.com", "local: mailbox susan@mail.example.com=susan" },
	{ "SUSAN@EXAMPLE.COM", "local: mailbox SUSAN@example.com=susan" },
	{ "susan", "local: mailbox susan@example.com=susan" },
	{ "susan@[192.0.2.9]", "local: mailbox susan@[192.0.2.9]=susan" },
	{ "susan@[127.0.0.1]", "local: mailbox susan@[127.0.0.1]=susan" },
	{ "susan@[192.0.2.10]", "default: remote susan@[192.0.2.10]" },
	{ "nobody@example.com", "unknown: 550 5.1.1" },
	{ "x@remote.example", "default: remote x@remote.example" },
	{ "x@backup.example", "relay: remote x@backup.example" },
	{ "x@deep.backup.example", "default: remote x@deep.backup.example" },
	{ "x@a.sub.example", "relay: remote x@a.sub.example" },
	{ "x@sub.example", "default: remote x@sub.example" },
	{ "x@xsub.example", "default: remote x@xsub.example" },
	/* routing characters */
	{ "\"a@remote.example\"@example.com", "routed: 550 5.1.1" },
	{ "a%remote.example@example.com", "routed: remote a@remote.example" },
	{ "remote.example!a@example.com", "routed: remote a@remote.example" },
	{ "a%b%remote.example@example.com", "routed: remote a%b@remote.example" },
	{ "%remote.example@example.com", "routed: 550 5.1.1" },
	{ "a%bad_domain-@example.com", "routed: 550 5.1.1" },
	{ "remote.example!a", "default: remote a@remote.example" },
	{ "a%remote.example", "default: remote a@remote.example" },
	{ "a%b@remote.example", "routed: remote a%b@remote.example" },
	{ "a%b@backup.example", "routed: remote a%b@backup.example" },
	/* syntax */
	{ "", "error: 501 5.1.3" },
	{ "@example.com", "error: 501 5.1.3" },
	{ "a b@example.com", "error: 501 5.1.3" },
	/* extensions */
	{ "susan+news@example.com", "local: mailbox susan+news@example.com=susan+news" },
	{ "susan+a+b@example.com", "local: mailbox susan+a+b@example.com=susan+a+b" },
	{ "plus+name@mail.example.com", "local: mailbox plus+name@mail.example.com=plus+name" },
	{ "+x@example.com", "unknown: 550 5.1.1" },
	{ "suzan.smith+x@example.com", "local: mailbox susan@example.com=susan" },
	{ "joe+tagged@mail.example.com", "local: mailbox susan@mail.example.com=susan" },
	/* aliases(5) */
	{ "postmaster", "local: mailbox administrator@example.com=administrator" },
	{ "postmaster@example.com", "local: mailbox administrator@example.com=administrator" },
	{ "suzan.smith@example.com", "local: mailbox susan@example.com=susan" },
	{ "list@mail.example.com", "local: mailbox joe@mail.example.com=joe by owner-list@example.com, mailbox susan@mail.example.com=susan by owner-list@example.com, remote far@remote.example "
	  "by owner-list@example.com" },
	{ "nested@mail.example.com",
	  "local: mailbox joe@mail.example.com=joe by owner-list@example.com, mailbox susan@mail.example.com=susan by owner-list@example.com, remote far@remote.example "
	  "by owner-list@example.com, mailbox boss@mail.example.com=boss" },
	{ "self@example.com", "local: mailbox self@example.com=self, mailbox joe@example.com=joe" },
	{ "back@example.com", "local: mailbox joe@example.com=joe" },
	{ "quoted@example.com", "local: remote \"joe smith\"@remote.example" },
	{ "loop1@example.com", "error: 554 5.4.6" },
	{ "file@example.com", "local: file /var/mail/x=file" },
	{ "cmd@example.com", "local: command /usr/bin/prog -a, -b=cmd" },
	{ "inc@example.com", "local: include /etc/list=inc" },
	{ "dead@example.com", "unknown: 550 5.1.1" },
	{ "half@example.com", "local: mailbox joe@example.com=joe" },
	{ "named@mail.example.com", "local: mailbox joe@mail.example.com=joe" },
	{ "far@example.com", "local: remote x@remote.example" },
	{ "via@example.com", "local: mailbox alice@vmail.example=alice@vmail.example" },
	{ "open@example.com", "error: 451 4.3.5" },
	/* virtual aliases */
	{ "sales@example.com", "local: mailbox susan@example.com=susan" },
	{ "SALES@Example.Com", "local: mailbox susan@example.com=susan" },
	{ "sales@mail.example.com", "unknown: 550 5.1.1" },
	{ "sales@myhome.example", "virtual: mailbox john@example.com=john" },
	{ "nobody@myhome.example", "unknown: 550 5.1.1" },
	{ "ident@example.com", "local: mailbox joe@example.com=joe, remote far@remote.example" },
	{ "joe@example.com", "local: mailbox joe@example.com=joe, remote far@remote.example" },
	{ "swap@example.com", "local: mailbox alice@vmail.example=alice@vmail.example" },
	{ "bare@example.com", "local: mailbox joe@example.com=joe, remote far@remote.example" },
	{ "chain1@example.com", "local: mailbox boss@example.com=boss" },
	{ "vl1@example.com", "error: 451 4.6.0" },
	{ "bad@example.com", "error: 451 4.6.0" },
	{ "plus+tag@example.com", "local: mailbox boss@example.com=boss" },
	{ "plus+other@example.com", "local: mailbox john+other@example.com=john+other" },
	{ "sales+q3@example.com", "local: mailbox susan+q3@example.com=susan+q3" },
	{ "out@remote.example", "default: mailbox joe@example.com=joe, remote far@remote.example" },
	{ "\"odd name\"@example.com", "local: mailbox boss@example.com=boss" },
	/* catch-alls */
	{ "anything@catch.example", "virtual: mailbox john@example.com=john" },
	{ "named@catch.example", "virtual: mailbox susan@example.com=susan" },
	{ "alice@vmail.example", "virtual: mailbox alice@vmail.example=alice@vmail.example" },
	{ "john@vmail.example", "virtual: mailbox john@vmail.example=john@vmail.example" },
	{ "john+x@vmail.example", "virtual: mailbox john+x@vmail.example=john@vmail.example+x" },
	{ "other@vmail.example", "virtual: mailbox alice@vmail.example=alice@vmail.example" },
	{ "ALICE@VMAIL.EXAMPLE", "virtual: mailbox ALICE@vmail.example=alice@vmail.example" },
};

static void usual_cases(void)
{
	struct conf *c = NULL;
	char extra[512];

	scene_put("aliases", aliases);
	scene_put("virtual", virtual);
	(void)snprintf(extra, sizeof(extra), "alias_maps = texthash:%s/aliases\nvirtual_alias_maps = texthash:%s/virtual\n", scene_dir(), scene_dir());
	struct resolver *r = scene_resolver(extra, &c);

	check(r, "usual", usual, ARRAY_LEN(usual));
	resolver_free(&r);
	conf_free(&c);
}

/* The article's pair of maps: a catch-all over a domain with accounts and aliases. */
static const struct want catch_sane[] = {
	{ "susan@example.com", "local: mailbox susan@example.com=susan" },
	{ "marketing@example.com", "local: mailbox boss@example.com=boss" },
	{ "postmaster@example.com", "local: mailbox administrator@example.com=administrator" },
	{ "nobody@example.com", "local: mailbox john@example.com=john" },
	{ "susan+x@example.com", "local: mailbox susan+x@example.com=susan+x" },
};
static const struct want catch_strict[] = {
	{ "susan@example.com", "local: mailbox john@example.com=john" },
	{ "marketing@example.com", "local: mailbox john@example.com=john" },
	{ "postmaster@example.com", "local: mailbox john@example.com=john" },
	{ "nobody@example.com", "local: mailbox john@example.com=john" },
	{ "suzan.smith@example.com", "local: mailbox susan@example.com=susan" },
};

static void catch_alls(void)
{
	struct conf *c = NULL;
	char extra[512];

	scene_put("aliases", "postmaster administrator\nmarketing boss\n");
	/* Listed by name, susan is safe from the catch-all even where it is strict. */
	scene_put("virtual", "suzan.smith susan@mail.example.com\n@example.com john@example.com\n");
	(void)snprintf(extra, sizeof(extra), "alias_maps = texthash:%s/aliases\nvirtual_alias_maps = texthash:%s/virtual\n", scene_dir(), scene_dir());
	struct resolver *r = scene_resolver(extra, &c);

	check(r, "a catch-all yields", catch_sane, ARRAY_LEN(catch_sane));
	resolver_free(&r);
	conf_free(&c);
	(void)snprintf(extra, sizeof(extra), "alias_maps = texthash:%s/aliases\nvirtual_alias_maps = texthash:%s/virtual\ncatchall_strict = yes\n", scene_dir(), scene_dir());
	scene_put("virtual", "suzan.smith susan@mail.example.com\n@example.com john@example.com\njohn@example.com john@example.com\n");
	r = scene_resolver(extra, &c);
	struct want fixed[ARRAY_LEN(catch_strict)];

	memcpy(fixed, catch_strict, sizeof(fixed));
	fixed[4].want = "local: mailbox susan@mail.example.com=susan";
	check(r, "catchall_strict", fixed, ARRAY_LEN(fixed));
	resolver_free(&r);
	conf_free(&c);
}

static const struct want no_aliases[] = {
	{ "postmaster@example.com", "error: 451 4.3.5" },
	{ "postmaster@vmail.example", "error: 451 4.3.5" },
	{ "postmaster@remote.example", "default: remote postmaster@remote.example" },
	{ "susan@example.com", "local: mailbox susan@example.com=susan" },
};
static const struct want root_only[] = {
	{ "postmaster@example.com", "local: mailbox boss@mail.example.com=boss" },
	{ "postmaster@vmail.example", "virtual: mailbox boss@mail.example.com=boss" },
	{ "root@example.com", "local: mailbox boss@example.com=boss" },
};
static const struct want missing_map[] = {
	{ "susan@example.com", "error: 451 4.3.0" },
	{ "x@remote.example", "error: 451 4.3.0" },
};

static void postmaster_and_trouble(void)
{
	struct conf *c = NULL;
	char extra[512];
	struct resolver *r = scene_resolver("", &c);

	check(r, "no maps", no_aliases, ARRAY_LEN(no_aliases));
	resolver_free(&r);
	conf_free(&c);
	r = scene_resolver("alias_maps = inline:{root=boss}\n", &c);
	check(r, "postmaster falls back to root", root_only, ARRAY_LEN(root_only));
	resolver_free(&r);
	conf_free(&c);
	(void)snprintf(extra, sizeof(extra), "virtual_alias_maps = hash:%s/none\n", scene_dir());
	r = scene_resolver(extra, &c);
	check(r, "a map that is missing is trouble", missing_map, ARRAY_LEN(missing_map));
	resolver_free(&r);
	conf_free(&c);
	r = scene_resolver("alias_maps = inline:{postmaster=boss}\n", &c);
	(void)rename(scene_path("accounts.cdb"), "/tmp/test_resolve.moved");
	resolver_refresh(r);
	static const struct want moved[] = { { "susan@example.com", "error: 451 4.3.0" } };

	check(r, "accounts.cdb went away", moved, 1);
	(void)rename("/tmp/test_resolve.moved", scene_path("accounts.cdb"));
	resolver_refresh(r);
	check(r, "and came back", no_aliases + 3, 1);
	resolver_free(&r);
	conf_free(&c);
}

/* --- parameters, one suite of maps each --- */

static const struct want delimiters[] = {
	{ "susan+news@example.com", "local: mailbox susan+news@example.com=susan+news" },
	{ "susan-news@example.com", "local: mailbox susan-news@example.com=susan+news" },
	{ "susan-a+b@example.com", "local: mailbox susan-a+b@example.com=susan+a+b" },
	{ "sales-q3@example.com", "local: mailbox susan-q3@example.com=susan+q3" },
	{ "owner-list@example.com", "local: mailbox boss@example.com=boss" },
	{ "list-request@example.com", "local: mailbox boss@example.com=boss" },
	{ "owner-joe@example.com", "unknown: 550 5.1.1" },
	{ "mailer-daemon@example.com", "local: mailbox boss@mail.example.com=boss" },
};
static const struct want no_propagation[] = { { "sales+q3@example.com", "local: mailbox susan@example.com=susan" } };
static const struct want accept_any[] = {
	{ "susan@example.com", "local: mailbox susan@example.com=susan" },
	{ "nobody@example.com", "local: error nobody@example.com=unknown user: \"nobody\"+5.1.1" },
};
static const struct want luser[] = {
	{ "susan@example.com", "local: mailbox susan@example.com=susan" },
	{ "nobody+x@example.com", "local: mailbox boss+nobody+x@example.com=boss+nobody+x" },
};
static const struct want luser_away[] = { { "nobody@example.com", "local: remote nobody@old.example" } };
static const struct want luser_loop[] = { { "nobody@example.com", "error: 451 4.6.0" } };
static const struct want fallback[] = {
	{ "nobody@example.com", "local: remote nobody@example.com=lmtp:unix:/run/other" },
	{ "susan@example.com", "local: mailbox susan@example.com=susan" },
};
static const struct want transport[] = {
	{ "susan+x@example.com", "local: remote susan+x@example.com=lmtp:unix:/run/store" },
	{ "alice@vmail.example", "virtual: mailbox alice@vmail.example=alice@vmail.example" },
	{ "nobody@example.com", "unknown: 550 5.1.1" },
};
static const struct want transport_maps[] = {
	{ "susan+x@example.com", "local: remote susan+x@example.com=lmtp:unix:/run/a" },
	{ "boss@example.com", "local: mailbox boss@example.com=boss" },
	{ "joe@example.com", "local: remote joe@example.com=lmtp:unix:/run/store" },
	{ "old@example.com", "local: remote old@example.com=lmtp:unix:/run/b" },
	{ "older+x@example.com", "local: remote older+x@example.com=lmtp:unix:/run/c" },
};
static const struct want fallback_maps[] = {
	{ "susan@example.com", "local: mailbox susan@example.com=susan" },
	{ "older+x@example.com", "local: remote older+x@example.com=smtp:[old.example]" },
	{ "nobody@example.com", "local: error nobody@example.com=unknown user: \"nobody\"+5.1.1" },
};
static const struct want transport_trouble[] = { { "susan@example.com", "error: 451 4.3.0" } };
static const struct want listed[] = {
	{ "extra@example.com", "local: error extra@example.com=unknown user: \"extra\"+5.1.1" },
	{ "more@example.com", "local: error more@example.com=unknown user: \"more\"+5.1.1" },
	{ "nobody@example.com", "unknown: 550 5.1.1" },
};
static const struct want relay_listed[] = {
	{ "known@backup.example", "relay: remote known@backup.example" },
	{ "known+x@backup.example", "relay: remote known+x@backup.example" },
	{ "other@backup.example", "unknown: 550 5.1.1" },
	{ "any@a.sub.example", "relay: remote any@a.sub.example" },
};
static const struct want moved[] = {
	{ "joe@example.com", "unknown: 550 5.1.6" },
	{ "joe+x@example.com", "unknown: 550 5.1.6" },
	{ "anybody@gone.example", "unknown: 550 5.1.6" },
	{ "susan@example.com", "local: mailbox susan@example.com=susan" },
};
static const struct want codes[] = {
	{ "nobody@example.com", "unknown: 450 4.1.1" },
	{ "nobody@gone.example", "unknown: 451 4.1.1" },
	{ "nobody@vmail.example", "unknown: 452 4.1.1" },
	{ "other@backup.example", "unknown: 453 4.1.1" },
};
static const struct want virtual_listed[] = {
	{ "alice@vmail.example", "virtual: mailbox alice@vmail.example=alice@vmail.example" },
	{ "ally+x@vmail.example", "virtual: mailbox ally+x@vmail.example=john@vmail.example+x" },
	{ "sys@vmail.example", "virtual: mailbox sys@vmail.example=joe" },
	{ "ghost@vmail.example", "error: 451 4.3.5" },
	{ "john@vmail.example", "unknown: 550 5.1.1" },
};
static const struct want canonical[] = {
	{ "old.name@example.com", "local: mailbox susan@example.com=susan" },
	{ "old.name+x@example.com", "local: mailbox susan+x@example.com=susan+x" },
	{ "anyone@past.example", "default: remote anyone@new.example" },
	{ "first@example.com", "local: mailbox boss@example.com=boss" },
	{ "joe@host.example.com", "default: remote joe@host.example.com" },
};
static const struct want owners[] = {
	{ "list@example.com", "local: mailbox joe@example.com=joe by boss@example.com" },
	{ "many@example.com", "local: mailbox joe@example.com=joe by owner-many@example.com" },
	{ "outer@example.com", "local: mailbox joe@example.com=joe by boss@example.com, mailbox susan@example.com=susan by john@remote.example" },
};
static const struct want no_hacks[] = {
	{ "a%remote.example@example.com", "routed: 550 5.1.1" },
	{ "remote.example!a@example.com", "routed: 550 5.1.1" },
};
static const struct want numbers[] = {
	{ "a@192.0.2.1", "error: 501 5.1.3" },
	{ "a@127.0.0.1", "error: 501 5.1.3" },
	{ "a@1234", "error: 501 5.1.3" },
	{ "a@[192.0.2.1]", "default: remote a@[192.0.2.1]" },
	{ "a@1.2.3.example", "default: remote a@1.2.3.example" },
};
static const struct want numbers_taken[] = {
	{ "a@192.0.2.1", "default: remote a@[192.0.2.1]" },
	{ "joe@127.0.0.1", "local: mailbox joe@[127.0.0.1]=joe" },
	{ "a@1234", "error: 501 5.1.3" },
	{ "a@1.2.3", "error: 501 5.1.3" },
	{ "a@1.2.3.256", "error: 501 5.1.3" },
};
static const struct {
	const char *conf;
	const struct want *cases;
	size_t n;
} parameter_cases[] = {
#define CASES(v) v, ARRAY_LEN(v)
	{ "recipient_delimiter = +-\nalias_maps = inline:{owner-list=boss, list-request=boss, postmaster=boss}\nvirtual_alias_maps = inline:{sales@example.com=susan}\n",
	  CASES(delimiters) },
	{ "propagate_unmatched_extensions = canonical\nvirtual_alias_maps = inline:{sales@example.com=susan}\n", CASES(no_propagation) },
	{ "local_recipient_maps =\n", CASES(accept_any) },
	{ "local_recipient_maps =\nluser_relay = boss+$local\n", CASES(luser) },
	{ "local_recipient_maps =\nluser_relay = @old.example\n", CASES(luser_away) },
	{ "local_recipient_maps =\nluser_relay = $user@$domain\n", CASES(luser_loop) },
	{ "local_recipient_maps =\nfallback_transport = lmtp:unix:/run/other\nluser_relay = boss\n", CASES(fallback) },
	{ "mailbox_transport = lmtp:unix:/run/store\n", CASES(transport) },
	{ "local_recipient_maps =\nmailbox_transport_maps = inline:{susan=lmtp:unix:/run/a, boss=, older=lmtp:unix:/run/c, old=lmtp:unix:/run/b}\n"
	  "mailbox_transport = lmtp:unix:/run/store\nfallback_transport = lmtp:unix:/run/other\n", CASES(transport_maps) },
	{ "local_recipient_maps =\nfallback_transport_maps = inline:{older=smtp:[old.example], susan=smtp:[wrong.example]}\n", CASES(fallback_maps) },
	{ "mailbox_transport_maps = cdb:/no/such\n", CASES(transport_trouble) },
	{ "local_recipient_maps = proxy:unix:passwd.byname inline:{extra=x, more@example.com=x}\n", CASES(listed) },
	{ "relay_recipient_maps = inline:{known@backup.example=x, @a.sub.example=x}\n", CASES(relay_listed) },
	{ "unknown_local_recipient_reject_code = 450\nunknown_virtual_alias_reject_code = 451\nunknown_virtual_mailbox_reject_code = 452\n"
	  "unknown_relay_recipient_reject_code = 453\nvirtual_alias_domains = gone.example\nrelay_recipient_maps = inline:{known@backup.example=x}\n", CASES(codes) },
	{ "relocated_maps = inline:{joe@example.com=joe@elsewhere.example, @gone.example=nowhere}\nvirtual_alias_domains = gone.example\n", CASES(moved) },
	{ "virtual_mailbox_maps = inline:{alice@vmail.example=x, ally@vmail.example=john@vmail.example, sys@vmail.example=joe, ghost@vmail.example=/no/where/}\n",
	  CASES(virtual_listed) },
	{ "recipient_canonical_maps = inline:{old.name=susan, first=second@example.com}\ncanonical_maps = inline:{@past.example=@new.example, second=boss}\n"
	  "masquerade_domains = example.com\n", CASES(canonical) },
	{ "expand_owner_alias = yes\nalias_maps = inline:{{list=joe} {owner-list=boss} {many=joe} {owner-many=boss, susan} {outer=list, susan} {owner-outer=john@remote.example}}\n",
	  CASES(owners) },
	{ "", CASES(numbers) },
	{ "resolve_numeric_domain = yes\ninet_interfaces = 127.0.0.1\n", CASES(numbers_taken) },
	{ "swap_bangpath = no\nallow_percent_hack = no\n", CASES(no_hacks) },
#undef CASES
};

static void parameters(void)
{
	for (size_t i = 0; i < ARRAY_LEN(parameter_cases); i++) {
		struct conf *c = NULL;
		struct resolver *r = scene_resolver(parameter_cases[i].conf, &c);

		char title[60];

		snprintf(title, sizeof(title), "%s", parameter_cases[i].conf);
		title[strcspn(title, "\n")] = '\0';
		check(r, title, parameter_cases[i].cases, parameter_cases[i].n);
		resolver_free(&r);
		conf_free(&c);
	}
}

/* a0 -> a1,a1; a1 -> a2,a2 …: 2^40 ways, and 2,000 different names. */
static void explosions(void)
{
	struct conf *c = NULL;
	struct buf text;
	char extra[512];

	buf_init(&text, 1 << 20);
	for (int i = 0; i < 40; i++)
		buf_printf(&text, "a%d a%d, a%d\n", i, i + 1, i + 1);
	buf_c(&text, "a40 joe\nwide ");
	for (int i = 0; i < 2500; i++)
		buf_printf(&text, "%su%d@remote.example", i ? ", " : "", i);
	buf_c(&text, "\n");
	for (int i = 0; i < 150; i++)
		buf_printf(&text, "d%d d%d\n", i, i + 1);
	buf_c(&text, "d150 joe\n");
	scene_put("aliases", text.p);
	(void)snprintf(extra, sizeof(extra), "alias_maps = texthash:%s/aliases\n", scene_dir());
	struct resolver *r = scene_resolver(extra, &c);
	static const struct want cases[] = {
		{ "a0@example.com", "local: mailbox joe@example.com=joe" },
		{ "wide@example.com", "error: 451 4.6.0" },
		{ "d0@example.com", "error: 554 5.4.6" },
		{ "d60@example.com", "local: mailbox joe@example.com=joe" },
	};

	check(r, "explosions end", cases, ARRAY_LEN(cases));
	resolver_free(&r);
	conf_free(&c);
	buf_fini(&text);
}

/* A message of parts, the fields of which are looked at one by one or all at once: what is found is the same. */
static void parts(void)
{
	static const char text[] = "Content-Type: multipart/mixed; boundary=b\nX-Hit: of the message\n\n--b\nX-Hit: 1\nContent-Type: message/rfc822\n\nX-Hit: nested\nX-Other: 2\n"
				   "Content-ID: 3\n\nX-Hit: text\n--b\nX-Hit: 4\n\n--b--\n";
	struct conf *c = NULL;
	char extra[1024];

	scene_put("mime", "/^X-Hit: (.*)/ WARN mime $1\n/^Content-ID:/ WARN id\n");
	scene_put("nested", "/^X-Hit: (.*)/ WARN nested $1\n");
	(void)snprintf(extra, sizeof(extra), "mime_header_checks = pcre:%s/mime\nnested_header_checks = pcre:%s/nested\nsmtp_mime_header_checks = pcre:%s/mime\n",
		       scene_dir(), scene_dir(), scene_dir());
	struct resolver *r = scene_resolver(extra, &c);
	scene_put("message", text);
	const int fd = open(scene_path("message"), O_RDONLY);
	for (int outgoing = 0; outgoing < 2; outgoing++)
		for (int slow = 0; slow < 2; slow++) {
			struct arena *a = arena_new(0);
			const struct ipc_resolve_PARTS m = { .size = sizeof(text) - 1, .outgoing = (uint64_t)outgoing };
			struct parts_walk *w = resolver_parts_begin(r, a, &m);
			struct ipc_resolve_PART_MATCHES found;
			struct buf got;
			int steps = 1;

			buf_init(&got, 1000);
			while (resolver_parts_step(w, fd, slow ? 0 : 10000000))
				steps++;
			resolver_parts_answer(w, &found);
			for (size_t i = 0; i < found.actions.n; i++)
				buf_printf(&got, "%.*s;%.*s ", STR_ARG(found.actions.v[i]), STR_ARG(outgoing ? found.places.v[i] : STR("")));
			tap_is_str(got.p,
				   outgoing ? "WARN mime 1;69 9 WARN id;133 14 WARN mime 4;164 9 " : "WARN mime 1; WARN nested nested; WARN id; WARN mime 4; ", "parts%s, %s",
				   outgoing ? " of what leaves" : "", slow ? "in slices" : "at once");
			tap_ok(slow ? steps >= 8 : steps == 3, "in %d steps: read, parsed, looked at", steps);
			buf_fini(&got);
			arena_free(&a);
		}
	(void)close(fd);
	(void)unlink(scene_path("mime"));
	(void)unlink(scene_path("nested"));
	(void)unlink(scene_path("message"));
	resolver_free(&r);
	conf_free(&c);
}

int main(void)
{
	scene_begin();
	usual_cases();
	catch_alls();
	postmaster_and_trouble();
	explosions();
	parameters();
	parts();
	scene_end();
	return tap_done();
}
