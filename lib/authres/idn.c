/* See idn.h. Punycode (RFC 3492) with its own parameters; labels are short, so the simple form of the algorithm serves. */
#include "authres/idn.h"

#include "base/buf.h"
#include "base/enc.h"

enum { BASE = 36, TMIN = 1, TMAX = 26, SKEW = 38, DAMP = 700, BIAS = 72, FIRST = 128, LABEL_MAX = 63 };

static uint32_t adapt(uint32_t delta, uint32_t points, bool first)
{
	uint32_t k = 0;
	delta = first ? delta / DAMP : delta / 2;
	delta += delta / points;
	for (; delta > (BASE - TMIN) * TMAX / 2; k += BASE)
		delta /= BASE - TMIN;
	return k + (BASE - TMIN + 1) * delta / (delta + SKEW);
}

static void put_digits(struct buf *out, uint32_t q, uint32_t bias)
{
	for (uint32_t k = BASE;; k += BASE) {
		const uint32_t t = k <= bias ? TMIN : k >= bias + TMAX ? TMAX : k - bias;
		if (q < t)
			break;
		buf_ch(out, "abcdefghijklmnopqrstuvwxyz0123456789"[t + (q - t) % (BASE - t)]);
		q = (q - t) / (BASE - t);
	}
	buf_ch(out, "abcdefghijklmnopqrstuvwxyz0123456789"[q]);
}

/* n code points, at most LABEL_MAX: no sum overflows (63 * 0x10ffff * 64 < 2^32). */
static void put_label(struct buf *out, const uint32_t *v, uint32_t n)
{
	uint32_t least = FIRST, delta = 0, bias = BIAS, done = 0;
	buf_c(out, "xn--");
	for (uint32_t i = 0; i < n; i++) {
		if (v[i] < FIRST) {
			buf_ch(out, ch_lower((char)v[i]));
			done++;
		}
	}
	const uint32_t basic = done;
	if (basic > 0)
		buf_ch(out, '-');
	while (done < n) {
		uint32_t next = UINT32_MAX;
		for (uint32_t i = 0; i < n; i++)
			if (v[i] >= least && v[i] < next)
				next = v[i];
		delta += (next - least) * (done + 1);
		for (uint32_t i = 0; i < n; i++) {
			delta += v[i] < next;
			if (v[i] != next)
				continue;
			put_digits(out, delta, bias);
			bias = adapt(delta, done + 1, done == basic);
			delta = 0;
			done++;
		}
		delta++;
		least = next + 1;
	}
}

static int encode(struct buf *out, struct str label)
{
	uint32_t v[LABEL_MAX];
	uint32_t n = 0;
	bool ascii = true;
	for (size_t i = 0; i < label.n; i++)
		ascii = ascii && (unsigned char)label.p[i] < 0x80;
	if (ascii) {
		buf_str(out, label);
		return 0;
	}
	while (label.n > 0) {
		if (n == LABEL_MAX)
			return -1;
		v[n++] = utf8_next(&label);
	}
	put_label(out, v, n);
	return 0;
}

struct str idn_ascii(struct arena *a, struct str domain)
{
	struct str rest = domain, out = domain;
	struct buf b;
	int r = 0;
	bool ascii = true;
	for (size_t i = 0; i < domain.n; i++)
		ascii = ascii && (unsigned char)domain.p[i] < 0x80;
	if (ascii || domain.n > 1024 || !utf8_valid(domain))
		return domain;
	buf_init(&b, 8192);
	for (bool first = true; rest.p != NULL && r == 0; first = false) {
		if (!first)
			buf_ch(&b, '.');
		r = encode(&b, str_split(&rest, '.'));
	}
	if (r == 0 && !buf_failed(&b))
		out = arena_str(a, buf_view(&b));
	buf_fini(&b);
	return out;
}
