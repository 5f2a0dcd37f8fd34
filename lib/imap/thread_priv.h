/* A forest of threads while it is made: thread.c builds it, thread_order.c sorts it. */
#ifndef IMAP_THREAD_PRIV_H
#define IMAP_THREAD_PRIV_H

#include "imap/order.h"
#include "imap/thread.h"

struct node {
	uint32_t number;		/* 0: not here */
	uint32_t parent, child, next;
	union {
		uint32_t prev;		/* while messages are added */
		uint32_t top;		/* then, for REFS: an ancestor, perhaps the root */
	};
	uint32_t subject : 30;
	bool reply : 1;
	bool rooted : 1;		/* among the roots */
	int64_t date;			/* of a node that stands for others: of its first child; REFS: the latest in the tree */
};
enum { SUBJECT_MAX = (1 << 30) - 1 };
_Static_assert(sizeof(struct node) == 32, "two nodes in a cache line");

enum phase { PH_ADDING, PH_PRUNE, PH_FIRST_DATES, PH_FIRST_SORT, PH_TABLE, PH_MERGE, PH_BELOW, PH_DATES, PH_SORT, PH_LINK, PH_DONE };

struct imap_thread {
	struct arena *a;
	struct arena *own;		/* of nodes and what is as large as they */
	enum imap_thread_alg alg;
	struct node *v;
	size_t n, cap;
	uint32_t ids, subjects;		/* the highest */
	uint32_t *by_subject;		/* roots */
	enum phase phase;
	uint32_t at;			/* of the phase */
	uint32_t *roots;
	size_t n_roots, root_at;
	struct imap_order order;	/* of the roots: gathered, sorted, taken */
	uint32_t *sorted;		/* as many */
	size_t kept;			/* roots that are gathered */
	enum { ROOTS_GATHER, ROOTS_SORT, ROOTS_TAKE } sorting;
	uint32_t first, last;		/* PH_LINK: the root whose children are being found, and the last of them */
	bool inside;			/* imap_thread_put: at is a node to write */
};

/* So much work of a phase; true: it is over. */
bool thread_below_some(struct imap_thread *t, size_t work);
bool thread_dates_some(struct imap_thread *t, size_t work);
void thread_sort_begin(struct imap_thread *t, bool by_subject);
bool thread_sort_some(struct imap_thread *t, size_t work, bool link);

#endif
