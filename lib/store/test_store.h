/* What the store's tests share: a scratch maildir, messages, and short words for common steps. */
#ifndef STORE_TEST_STORE_H
#define STORE_TEST_STORE_H

#include "store/store.h"

const char *scratch_new(void);		/* a fresh directory (its name is static, until the next call) */
const char *scratch_on_disk(void);	/* the same where file systems list as they do on servers */
void scratch_drop(const char *name);	/* that one, now */
void scratch_remove(void);		/* all of them */
char *scratch_path(const char *dir, const char *rest);	/* static, two at a time */
/* A message into new/, as deliver does it. Returns its base name (static). */
const char *put_new(const char *root, const char *folder, const char *text);
void put_file(const char *root, const char *rel, const char *text);
size_t count_files(const char *root, const char *rel);

struct store *must_open(const char *root);
struct mbox *must_mbox(struct store *s, const char *name);
uint32_t append_one(struct mbox *m, unsigned flags, const char *keyword, const char *text);
int store_flags(struct mbox_view *v, uint32_t seq, enum mbox_flag_op op, unsigned flags, const char *keyword);	/* keyword may be NULL */
void refresh_sync(struct mbox *m, struct mbox_view *v);
/* "1=uid:flags[,keyword…] 2=…" of a view: for comparisons. Static. */
const char *describe(struct mbox_view *v);
char *read_message(struct mbox_view *v, uint32_t seq);	/* static; NULL when it cannot be opened */

#endif
