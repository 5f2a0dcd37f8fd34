/* What a folder is called by: UIDVALIDITY, mailbox id and UID bound. Their second copy, and how they are taken from elsewhere. */
#include "base/enc.h"
#include "base/num.h"
#include "os/os.h"
#include "store/store_priv.h"

/* --- second copy --- */

int ident_write(struct mbox *m, struct err *e)
{
	struct buf b;
	int r;

	buf_init(&b, 128);
	buf_printf(&b, "1 %u ", m->st.uidvalidity);
	hex_encode(&b, str_n(m->st.id, sizeof(m->st.id)));
	buf_printf(&b, " %u\n", m->st.reserved);
	r = file_replace_at(m->dirfd, IDENT_NAME, buf_view(&b), 0600, e);
	buf_fini(&b);
	return r;
}

int ident_read(int dirfd, uint32_t *uidvalidity, uint8_t id[16], uint32_t *bound)
{
	struct err quiet = { 0 };
	struct buf b, raw;
	uint64_t uv, bd;
	int r = 1;

	buf_init(&b, 256);
	buf_init(&raw, 16);
	if (file_read_at(dirfd, IDENT_NAME, 200, &b, &quiet) == 0) {
		struct str s = buf_view(&b);
		if (str_starts(s, STR("1 ")) && str_ends(s, STR("\n"))) {
			s = str_sub(s, 2, s.n - 3);
			const struct str a = str_split(&s, ' '), hex = str_split(&s, ' ');
			if (num_parse(a, 1, UINT32_MAX, &uv) == 0 && hex.n == 32 && hex_decode(&raw, hex) == 0 && raw.n == 16 &&
			    num_parse(s, 1, UINT32_MAX, &bd) == 0) {
				*uidvalidity = (uint32_t)uv;
				*bound = (uint32_t)bd;
				memcpy(id, raw.p, 16);
				r = 0;
			}
		}
	}
	buf_fini(&raw);
	buf_fini(&b);
	return r;
}

/* --- taken from elsewhere --- */

static int adopt(struct mbox *m, uint32_t uidvalidity, struct err *e)
{
	const uint32_t before = m->st.uidvalidity;

	if (m->st.uidnext != 1 || state_count(&m->st) > 0)
		return before == uidvalidity ? 0 : 1;
	if (root_uidvalidity_seen(m->s, uidvalidity, e) < 0)
		return -1;
	m->st.uidvalidity = uidvalidity;
	/* As at a folder's first journal: it comes before the second copy. */
	if (mbox_replace_journal(m, false, e) < 0 || ident_write(m, e) < 0) {
		m->st.uidvalidity = before;
		return -1;
	}
	return 0;
}

int mbox_adopt_uidvalidity(struct mbox *m, uint32_t uidvalidity, struct err *e)
{
	int r;

	if (uidvalidity == 0)
		return 1;
	if (mbox_lock(m, e) < 0)
		return -1;
	r = adopt(m, uidvalidity, e);
	mbox_unlock_folder(m);
	return r;
}

static int reserve(struct mbox *m, uint32_t next, struct err *e)
{
	const uint32_t before = m->st.uidnext, reserved = m->st.reserved;

	if (next <= before)
		return 0;
	m->st.uidnext = m->st.reserved = next;
	if (mbox_replace_journal(m, false, e) < 0 || ident_write(m, e) < 0) {
		m->st.uidnext = before;
		m->st.reserved = reserved;
		return -1;
	}
	return 0;
}

int mbox_reserve_uids(struct mbox *m, uint32_t next, struct err *e)
{
	if (mbox_lock(m, e) < 0)
		return -1;
	const int r = reserve(m, next, e);
	mbox_unlock_folder(m);
	return r;
}
