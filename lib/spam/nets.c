/* Networks of trusted_networks and its like: "192.168.0." (a prefix by dots), CIDR, IPv6, "!" in front to except. The first entry that holds an address
 * decides. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "spam/set.h"

int ip_parse(struct str text, unsigned char out[16])
{
	char name[64];
	if (text.n > 2 && text.p[0] == '[' && text.p[text.n - 1] == ']')
		text = str_sub(text, 1, text.n - 2);
	if (str_case_starts(text, STR("ipv6:")))
		text = str_from(text, 5);
	if (text.n == 0 || text.n >= sizeof(name))
		return -1;
	memcpy(name, text.p, text.n);
	name[text.n] = '\0';
	memset(out, 0, 10);
	out[10] = out[11] = 0xff;
	if (inet_pton(AF_INET, name, out + 12) == 1)
		return 0;
	return inet_pton(AF_INET6, name, out) == 1 ? 0 : -1;
}

/* "192.168.0." and "10": what is missing is free. */
static int dotted_prefix(struct str text, struct net *n)
{
	unsigned parts = 0;
	memset(n->ip, 0, 16);
	n->ip[10] = n->ip[11] = 0xff;
	for (struct str rest = text; rest.p != NULL && rest.n > 0; parts++) {
		uint64_t v;
		if (parts == 4 || num_parse(str_split(&rest, '.'), 0, 255, &v) < 0)
			return -1;
		n->ip[12 + parts] = (unsigned char)v;
	}
	n->bits = 96 + 8 * parts;
	return parts == 0 ? -1 : 0;
}

static int net_parse(struct str text, struct net *n)
{
	struct str rest = text, address = str_split(&rest, '/');
	if (rest.p == NULL && str_chr(address, ':') < 0)
		return dotted_prefix(address, n);
	bool v4 = str_chr(address, ':') < 0;
	uint64_t bits = 128;
	if (rest.p != NULL && num_parse(rest, 0, v4 ? 32 : 128, &bits) < 0)
		return -1;
	if (v4 && dotted_prefix(address, n) < 0)
		return -1;
	if (!v4 && ip_parse(address, n->ip) < 0)
		return -1;
	n->bits = (unsigned)bits + (v4 ? 96 : 0);
	return 0;
}

int nets_add(struct arena *a, struct nets *list, struct str text, struct err *e)
{
	(void)a;
	struct net n = { 0 };
	struct str t = text;
	if (t.n > 0 && t.p[0] == '!') {
		n.exclude = true;
		t = str_from(t, 1);
	}
	if (net_parse(t, &n) < 0)
		return err_set(e, ERR_CONF, 0, "'%.*s' is no network (as 192.168.0., 10.0.0.0/8, 2001:db8::/32)", STR_ARG(text));
	if (list->n >= SPAM_NETS_MAX)
		return err_set(e, ERR_CONF, 0, "more than %d networks", SPAM_NETS_MAX);
	if (list->n == list->cap) {
		list->cap = list->cap == 0 ? 16 : list->cap * 2;
		list->v = xrealloc(list->v, list->cap * sizeof(*list->v));
	}
	list->v[list->n++] = n;
	return 0;
}

static bool in_net(const struct net *n, const unsigned char ip[16])
{
	size_t whole = n->bits / 8;
	if (memcmp(n->ip, ip, whole) != 0)
		return false;
	unsigned rest = n->bits % 8;
	return rest == 0 || (n->ip[whole] >> (8 - rest)) == (ip[whole] >> (8 - rest));
}

/* Loopback always belongs to us. */
bool nets_match(const struct nets *list, struct str text)
{
	unsigned char ip[16];
	if (ip_parse(text, ip) < 0)
		return false;
	static const unsigned char v6_loopback[16] = { [15] = 1 };
	if (memcmp(ip, v6_loopback, 16) == 0 || (ip[10] == 0xff && ip[11] == 0xff && ip[12] == 127 && ip[0] == 0))
		return true;
	for (size_t i = 0; i < list->n; i++)
		if (in_net(&list->v[i], ip))
			return !list->v[i].exclude;
	return false;
}
