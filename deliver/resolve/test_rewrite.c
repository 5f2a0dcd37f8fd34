/* Canonical maps and masquerading of a message's own addresses; blind copies. */
#include "deliver/resolve/test_scene.h"
#include "test/tap.h"

/* Rewriting of a message's own addresses. "S" envelope sender, "s" header sender, "r" header recipient. */
static const struct {
	const char *conf, *what, *in, *want;
} rewriting[] = {
	{ "", "S", "joe@example.com", "joe@example.com" },
	{ "canonical_maps = inline:{joe@example.com=Joe.Doe@example.com}\n", "S", "joe@example.com", "Joe.Doe@example.com" },
	{ "canonical_maps = inline:{joe@example.com=Joe.Doe@example.com}\n", "s", "joe+x@example.com", "Joe.Doe+x@example.com" },
	{ "canonical_maps = inline:{joe@example.com=Joe.Doe@example.com}\ncanonical_classes = header_sender\n", "S", "joe@example.com", "joe@example.com" },
	{ "canonical_maps = inline:{joe@example.com=x@y.example}\ncanonical_classes = header_sender\n", "r", "joe@example.com", "joe@example.com" },
	{ "sender_canonical_maps = inline:{joe=first}\ncanonical_maps = inline:{first=last}\n", "S", "joe@example.com", "last@example.com" },
	{ "sender_canonical_maps = inline:{joe=first}\n", "r", "joe@example.com", "joe@example.com" },
	{ "recipient_canonical_maps = inline:{joe=first}\n", "r", "joe@example.com", "first@example.com" },
	{ "canonical_maps = inline:{joe=|sh}\n", "S", "joe@example.com", "451" },
	{ "sender_canonical_maps = inline:{joe=first}\nsender_canonical_classes = envelope_sender\n", "s", "joe@example.com", "joe@example.com" },
	{ "sender_canonical_maps = inline:{joe=first}\nsender_canonical_classes = header_sender\n", "S", "joe@example.com", "joe@example.com" },
	{ "recipient_canonical_maps = inline:{joe=first}\nrecipient_canonical_classes = envelope_recipient\n", "r", "joe@example.com", "joe@example.com" },
	{ "masquerade_domains = example.com\n", "S", "joe@a.b.example.com", "joe@example.com" },
	{ "masquerade_domains = example.com\n", "s", "joe@example.com", "joe@example.com" },
	{ "masquerade_domains = example.com\n", "r", "joe@a.example.com", "joe@example.com" },
	{ "masquerade_domains = example.com\n", "r", "joe@xexample.com", "joe@xexample.com" },
	{ "masquerade_domains = !keep.example.com example.com\n", "S", "joe@a.keep.example.com", "joe@a.keep.example.com" },
	{ "masquerade_domains = !keep.example.com example.com\n", "S", "joe@keep.example.com", "joe@keep.example.com" },
	{ "masquerade_domains = example.com !keep.example.com\n", "S", "joe@keep.example.com", "joe@example.com" },
	{ "masquerade_domains = a.example.com example.com\n", "S", "joe@b.a.example.com", "joe@a.example.com" },
	{ "masquerade_domains = a.example.com example.com\n", "S", "joe@a.example.com", "joe@a.example.com" },
	{ "masquerade_domains = example.com\nmasquerade_exceptions = root\n", "S", "ROOT@a.example.com", "ROOT@a.example.com" },
	{ "masquerade_domains = example.com\nmasquerade_classes = header_sender\n", "S", "joe@a.example.com", "joe@a.example.com" },
	{ "canonical_maps = inline:{joe@a.example.com=jd@b.example.com}\nmasquerade_domains = example.com\n", "S", "joe@a.example.com", "jd@example.com" },
};

static void rewrites(void)
{
	for (size_t i = 0; i < ARRAY_LEN(rewriting); i++) {
		const bool envelope = rewriting[i].what[0] == 'S';
		struct str in = str_c(rewriting[i].in), class = rewriting[i].what[0] == 's' ? STR("sender") : STR("recipient");
		const struct ipc_resolve_REWRITE m = { .sender = envelope ? in : STR(""), .envelope = envelope, .addresses = { &in, !envelope }, .classes = { &class, !envelope } };
		struct ipc_resolve_REWRITTEN out;
		struct arena *a = arena_new(0);
		struct conf *c = NULL;
		struct resolver *r = scene_resolver(rewriting[i].conf, &c);

		resolver_rewrite(r, a, &m, &out);
		const struct str got = out.code ? STR("451") : envelope ? out.sender : out.addresses.v[0];
		tap_is_mem(got, str_c(rewriting[i].want), "%s of %s, row %zu", rewriting[i].what, rewriting[i].in, i);
		arena_free(&a);
		resolver_free(&r);
		conf_free(&c);
	}
}

static void blind_copies(void)
{
	struct str rcpts[] = { STR("joe+x@example.com"), STR("x@secret.example"), STR("other@example.com") };
	const struct ipc_resolve_REWRITE m = { .sender = STR("susan@example.com"), .recipients = { rcpts, 3 } };
	struct ipc_resolve_REWRITTEN out;
	struct arena *a = arena_new(0);
	struct conf *c = NULL;
	struct buf got;
	struct resolver *r = scene_resolver("always_bcc = archive\nsender_bcc_maps = inline:{susan@example.com=boss}\n"
				  "recipient_bcc_maps = inline:{joe=a@x.example, @secret.example=boss}\n", &c);

	buf_init(&got, 1000);
	resolver_rewrite(r, a, &m, &out);
	for (size_t i = 0; i < out.bcc.n; i++)
		buf_printf(&got, "%.*s;", STR_ARG(out.bcc.v[i]));
	tap_is_str(got.p, "archive;boss;a@x.example;", "blind copies, each once");
	buf_fini(&got);
	arena_free(&a);
	resolver_free(&r);
	conf_free(&c);
}

int main(void)
{
	scene_begin();
	rewrites();
	blind_copies();
	scene_end();
	return tap_done();
}
