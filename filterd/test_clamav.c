/* The virus stage with real libclamav: what is found in every way a part is carried, and what is not looked through twice. Run from the top of the tree. */
#include "clamav.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/enc.h"
#include "ipc/filter.h"
#include "outcome.h"
#include "scan.h"
#include "test_found.h"
#include "signatures.h"
#include "test/tap.h"

static char dir[] = "/tmp/test_clamav.XXXXXX";

/* What is looked for in anything, in HTML, in mail and in text, the latter in lower case. The digest is the MD5 and size of "first line\r\nsecond line\r\n". */
static const char words[] = "Test.Word:0:*:776f726d776f7264\n"
	"Test.Html:3:*:3c623e626f6c643c2f623e776f726d\n"
	"Test.Mail:4:*:582d576f726d3a20696e73696465\n"
	"Test.Text:7:*:776f726d20696e206c6f7765722063617365\n"
	"Test.Start:0:0:737461727420776f726d\n"
	"Test.Gap:0:*:6761702077{4-6}6f726d\n"
	"Test.Twin:0:*:0283e4888325f1415a\n";
static const char digests[] = "081ebfd2a223026bb6e000a9c3f1e666:25:Test.File\n";
/* The same of "third line\r\n", by SHA-256; two words in any order in a file of a mail; a member of an archive by its name; a forged link. */
static const char digests256[] = "5f7870d8ab7668e9ec699b405bc6bf5b24fce251622c6243ea9c5d88271cbe8e:12:Test.File256\n";
static const char logic[] = "Test.Logic;Engine:51-255,Container:CL_TYPE_MAIL,Target:0;0&1;776f726d746f6e67;776f726d657965\n";
static const char members[] = "Test.Member:CL_TYPE_ZIP:*:worm\\.txt:*:*:*:*:*:*\nTest.Attached:CL_TYPE_MAIL:*:worm\\.bin:*:*:*:*:*:*\n";
static const char links[] = "H:bank.example\n";

#define HEAD "From: a@example.org\r\nTo: b@example.com\r\nSubject: t\r\nMIME-Version: 1.0\r\n"
#define ODD_HEAD "X-One: 1\r\nX-Two: 2\r\nMIME-Version: 1.0\r\n"	/* libclamav does not take it for mail */
#define PARTS "Content-Type: multipart/mixed; boundary=B\r\n\r\n--B\r\nContent-Type: text/plain\r\n\r\nsee below\r\n--B\r\n"
#define END "\r\n--B--\r\n"
#define QP "Content-Transfer-Encoding: quoted-printable\r\n"
#define B64 "Content-Transfer-Encoding: base64\r\n"
#define NAMED "Content-Disposition: attachment; filename=notes.txt\r\n"

static const struct {
	const char *message, *found;
} cases[] = {
	{ HEAD "\r\na wormword here\r\n", "Test.Word.UNOFFICIAL" },
	{ HEAD "\r\na worm word here\r\n", NULL },
	{ HEAD QP "\r\na worm=\r\nword here\r\n", "Test.Word.UNOFFICIAL" },
	{ HEAD B64 "\r\nYSB3b3Jtd29yZCBoZXJlDQo=\r\n", "Test.Word.UNOFFICIAL" },
	{ HEAD PARTS QP "\r\na worm=\r\nword here\r\n" END, "Test.Word.UNOFFICIAL" },
	{ HEAD PARTS B64 "\r\nYSB3b3Jtd29yZCBoZXJlDQo=\r\n" END, "Test.Word.UNOFFICIAL" },
	{ HEAD PARTS "Content-Type: application/x-y\r\n" B64 "\r\nYSB3b3Jtd29yZCBoZXJlDQo=\r\n" END, "Test.Word.UNOFFICIAL" },
	{ HEAD PARTS "Content-Type: message/rfc822\r\n\r\n" HEAD QP "\r\na worm=\r\nword here\r\n" END, "Test.Word.UNOFFICIAL" },
	{ HEAD "\r\nsee\r\n\r\nbegin 644 x\r\n182!W;W)M=V]R9\"!H97)E#0H \r\n`\r\nend\r\n", "Test.Word.UNOFFICIAL" },
	{ HEAD PARTS "Content-Type: text/html\r\n" QP "\r\n<p>a worm=\r\nword here\r\n" END, "Test.Word.UNOFFICIAL" },
	/* Each kind of target where it mostly is, and not elsewhere. */
	{ HEAD PARTS "Content-Type: text/html\r\n" QP "\r\n<html><body><P>a <B>bo=\r\nld</B>Worm</body></html>\r\n" END, "Test.Html.UNOFFICIAL" },
	{ HEAD PARTS B64 "Content-Type: text/html\r\n\r\nPGh0bWw+PGJvZHk+PGI+Ym9sZDwvYj53b3JtPC9ib2R5PjwvaHRtbD4K\r\n" END, "Test.Html.UNOFFICIAL" },
	{ HEAD "Content-Type: text/html\r\n\r\n<html><body><b>bold</b>worm</body></html>\r\n", "Test.Html.UNOFFICIAL" },
	{ HEAD "X-Worm: inside\r\n\r\ntext\r\n", "Test.Mail.UNOFFICIAL" },
	{ HEAD PARTS "Content-Type: message/rfc822\r\n\r\n" HEAD "X-Worm: inside\r\n\r\ntext\r\n" END, "Test.Mail.UNOFFICIAL" },
	/* What libclamav's own parser of mail alone finds, beside uuencoded files and what is to be in a mail: attachments by name, and mails in texts. */
	{ HEAD PARTS "Content-Type: application/x-y\r\nContent-Disposition: attachment; filename=worm.bin\r\n" B64 "\r\nbm90aGluZyBlbHNlCg==\r\n" END,
	  "Test.Attached.UNOFFICIAL" },
	{ HEAD "\r\nIt came back:\r\n\r\nReceived: from a by b\r\nMIME-Version: 1.0\r\nContent-Type: application/x-y\r\nContent-Transfer-Encoding: base64\r\n"
	  "\r\nYSB3b3Jtd29yZCBoZXJlDQo=\r\n", "Test.Word.UNOFFICIAL" },
	{ HEAD "\r\na Worm in  Lower case\r\n", "Test.Text.UNOFFICIAL" },
	{ HEAD PARTS QP "\r\na Worm=20in Lower case\r\n" END, "Test.Text.UNOFFICIAL" },
	{ HEAD PARTS "Content-Type: application/octet-stream\r\n" B64 "\r\nAAFYLVdvcm06IGluc2lkZQA8Yj5ib2xkPC9iPndvcm0A\r\n" END, NULL },
	/* Where libclamav sees no mail, our parser does. */
	{ ODD_HEAD PARTS QP "\r\na worm=\r\nword here\r\n" END, "Test.Word.UNOFFICIAL" },
	{ ODD_HEAD QP "\r\na worm=\r\nword here\r\n", "Test.Word.UNOFFICIAL" },
	/* A file is looked at as it would be saved. */
	{ HEAD PARTS NAMED QP "\r\nfirst line\r\nsecond l=69ne\r\n" END, "Test.File.UNOFFICIAL" },
	{ HEAD PARTS "Content-Type: text/plain; name=x.txt\r\n" QP "\r\nfirst line\r\nsecond l=69ne\r\n" END, "Test.File.UNOFFICIAL" },
	{ HEAD PARTS B64 "\r\nZmlyc3QgbGluZQ0Kc2Vjb25kIGxpbmUNCg==\r\n" END, "Test.File.UNOFFICIAL" },
	{ HEAD PARTS "Content-Type: text/plain\r\n" QP "\r\na worm=\r\nword=0D=00 here\r\n" END, "Test.Word.UNOFFICIAL" },
	{ HEAD PARTS NAMED QP "\r\nthird l=69ne\r\n" END, "Test.File256.UNOFFICIAL" },
	{ HEAD PARTS NAMED QP "\r\nwormeye a worm=\r\ntongue\r\n" END, "Test.Logic.UNOFFICIAL" },
	{ HEAD PARTS NAMED QP "\r\nworm=\r\ntongue\r\n" END, NULL },
	{ HEAD PARTS "Content-Type: application/zip\r\n" B64 "\r\nUEsDBBQAAAAAAAAAIQDHp4s7BAAAAAQAAAAIAAAAd29ybS50eHR0ZXh0UEsBAhQDFAAAAAAAAAAh\r\n"
	  "AMenizsEAAAABAAAAAgAAAAAAAAAAAAAAIABAAAAAHdvcm0udHh0UEsFBgAAAAABAAEANgAAACoA\r\n"
	  "AAAAAA==\r\n" END, "Test.Member.UNOFFICIAL" },
	/* Methods that the library has no decoder for: LZMA in a zip, bzip2 and Deflate in 7z, PPMd in 7z with more memory than it gives. */
	{ HEAD PARTS "Content-Type: application/x-y\r\n" B64 "\r\nUEsDBD8AAgAOAFIIfl0FXDnpNAAAAC0AAAABAAAAeAkEBQBdAACAAAA5m8ny51C4xeJctNch28Lz\r\n"
	  "uOGCiCv604BfgZ2bjvVj6kvbceyQ//ruM4BQSwECPwM/AAIADgBSCH5dBVw56TQAAAAtAAAAAQAA\r\n"
	  "AAAAAAAAAAAAgAEAAAAAeFBLBQYAAAAAAQABAC8AAABTAAAAAAA=\r\n" END, "Test.Word.UNOFFICIAL" },
	{ HEAD PARTS "Content-Type: application/x-y\r\n" B64 "\r\nN3q8ryccAAT5eqm4RgAAAAAAAAA+AAAAAAAAAEIuGItCWmg5MUFZJlNZuV12IQAAElGAABBABCZD\r\n"
	  "nMAgADFMAACVT9KeIZBuE7EkqftWqGrRFj5NnB6U86MWoPC7kinChIXK67EIAQQGAAEJRgAHCwEA\r\n"
	  "AQMEAgIMLQAICgEFXDnpAAAFARkMAAAAAAAAAAAAAAAAEQUAeAAAABUGAQAggKSBAAA=\r\n" END, "Test.Word.UNOFFICIAL" },
	{ HEAD PARTS "Content-Type: application/x-y\r\n" B64 "\r\nN3q8ryccAASoKhgcLgAAAAAAAAA+AAAAAAAAAM/Qxmc9yrEJACAMRNHeKW4AlwrkwCYGYkDHVyxS\r\n"
	  "/ObzlhuRPAmZCsH2sJdiMNj/LNIuAQQGAAEJLgAHCwEAAQMEAQgMLQAICgEFXDnpAAAFARkMAAAA\r\n"
	  "AAAAAAAAAAAAEQUAeAAAABUGAQAggKSBAAA=\r\n" END, "Test.Word.UNOFFICIAL" },
	{ HEAD PARTS "Content-Type: application/x-y\r\n" B64 "\r\nN3q8ryccAAT8jziAIgAAAAAAAABSAAAAAAAAAIsziJ8AcvpM9xXB0RvLtaNHYDWKy9+lS6d/QRV6\r\n"
	  "WbStCyAHDxgAAQQGAAEJIgAHCwEAASMDBAEFBgAAAGAMLQAICgEFXDnpAAAFARkGAAAAAAAAEQ0A\r\n"
	  "eQAuAGIAaQBuAAAAFAoBALM+d91lgN0BFQYBACCApIEAAA==\r\n" END, "Test.Word.UNOFFICIAL" },
	/* Two streams of xz, and one that ends too early, of which it looks at nothing. */
	{ HEAD PARTS "Content-Type: application/x-y\r\n" B64 "\r\n/Td6WFoAAAFpIt42AgAhARYAAAB0L+Wj4AIDABldADmbyfLnULjF4ly01yB7IWp5Y9oZokt9AAAAAA\r\n"
	  "AAba+3xgABMYQEAAAA0IF3xz4wDYsCAAAAAAFZWv03elhaAAABaSLeNgIAIQEWAAAAdC/lo+ACEQAl\r\n"
	  "XQA5m8ny51C4xeJctNch28LzuOGCiCv604BfgaJ5BLqDF696bKAAAAAAAMYb8bYAAT2SBAAAAIkjFV\r\n"
	  "8+MA2LAgAAAAABWVo=\r\n" END, "Test.Word.UNOFFICIAL" },
	{ HEAD PARTS "Content-Type: application/x-y\r\n" B64 "\r\n/Td6WFoAAAFpIt42AgAhARYAAAB0L+Wj5hqdAJ1dADmbyfLnULjF4ly01yHbwvO44YKIK/rTgF+Bna\r\n"
	  "iJfGJPPk7UX0KjtCuVdms4r+kLjFRfx0pTZ9LuuCLa2FaF/ZU86UlZygkg5Q9z5WJSc1/Exr+LfKgh\r\n"
	  "RSpgWRTyn5GRTAFmJY9dQRDj3unSMRdYebNt5YA3udmAwuK8GWnZIUpZheqJ/SveMjEan7eNMW5wnq\r\n"
	  "cjX+woy4XGJahvAAAAAA==\r\n" END, "Test.Word.UNOFFICIAL" },
	{ HEAD PARTS "Content-Type: application/x-y\r\n" B64 "\r\nKLUv/QRYRQEA+HNvbWUgdGV4dCBhbmQgYSB3b3Jtd29yZCBoZXJlLAoCAEYVEK/pBOrR9h8=\r\n" END, "Test.Word.UNOFFICIAL" },
	{ HEAD PARTS NAMED QP "\r\nsta=\r\nrt worm\r\n" END, "Test.Start.UNOFFICIAL" },
	{ HEAD PARTS NAMED QP "\r\nno sta=\r\nrt worm\r\n" END, NULL },
	{ HEAD PARTS B64 "Content-Type: application/x-y\r\n\r\nYSBnYXAgdy0tLS0tb3JtCg==\r\n" END, "Test.Gap.UNOFFICIAL" },
	{ HEAD PARTS QP "\r\ngap w--orm\r\n" END, NULL },
};

/* Where links are compared with a list. */
static const char forged[] = HEAD PARTS "Content-Type: text/html\r\n\r\n<html><body><a href=\"http://worm.example/\">http://bank.example/</a></body></html>\r\n" END;

static int write_file(const char *name, const char *text)
{
	char path[100];
	snprintf(path, sizeof(path), "%s/db/%s", dir, name);
	FILE *f = fopen(path, "w");
	return f == NULL || fputs(text, f) < 0 || fclose(f) != 0 ? -1 : 0;
}

static void remove_file(const char *name)
{
	char path[100];
	snprintf(path, sizeof(path), "%s/db/%s", dir, name);
	unlink(path);
}

/* More than those for which one automaton serves. */
static int write_many(void)
{
	struct buf b;
	buf_init(&b, 1 << 20);
	for (unsigned i = 0; i < 1100; i++)
		buf_printf(&b, "Test.Fill%u:0:*:ff%04xff00fffe00ffff00%04xff\n", i, i, i * 7);
	const int r = write_file("many.ndb", b.p);
	buf_fini(&b);
	return r;
}

static int databases(void)
{
	char line[400], path[100];
	FILE *f = fopen("etc/share/clamav/postern-test.ndb", "r");
	const bool read = f != NULL && fgets(line, sizeof(line), f) != NULL;
	if (f != NULL)
		fclose(f);
	if (!read || mkdtemp(dir) == NULL)
		return -1;
	snprintf(path, sizeof(path), "%s/db", dir);
	return mkdir(path, 0700) < 0 ? -1 : write_file("canary.ndb", line) | write_file("words.ndb", words) | write_file("digests.hdb", digests) |
		write_file("digests.hsb", digests256) | write_file("logic.ldb", logic) | write_file("members.cdb", members);
}

static void clear(void)
{
	static const char *const names[] = { "canary.ndb", "words.ndb", "digests.hdb", "digests.hsb", "logic.ldb", "members.cdb", "links.PDB", "many.ndb" };
	char path[100];
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		remove_file(names[i]);
	snprintf(path, sizeof(path), "%s/db", dir);
	rmdir(path);
	tap_ok(rmdir(dir) == 0, "nothing is left of what was unpacked");
}

/* --- what is scanned --- */

enum { LINES = 1500 };

static void lines(struct buf *b, unsigned seed, const char *end)
{
	for (unsigned i = 0; i < LINES; i++)
		buf_printf(b, "line %u of text %u, which =66ills some space%s\r\n", i, seed, end);
}

/* Text and the same as HTML, each with fields of its own. */
static void alternative(struct buf *b, unsigned seed, const char *text_fields)
{
	buf_c(b, HEAD "Content-Type: multipart/alternative; boundary=B\r\n\r\n--B\r\nContent-Type: text/plain; charset=utf-8\r\n" QP);
	buf_printf(b, "%s\r\n", text_fields);
	lines(b, seed, "");
	buf_c(b, "\r\n--B\r\nContent-Type: text/html; charset=utf-8\r\n" QP "\r\n<html><body>\r\n");
	lines(b, seed, "<br>");
	buf_c(b, "</body></html>\r\n" END);
}

/* Bytes that the stage has libclamav look through; of the message alone by whole. */
static uint64_t scanned_of(const struct filter_rules *rules, const char *text_fields, bool whole)
{
	static unsigned seed;
	struct buf b;
	struct found found;
	buf_init(&b, 1 << 20);
	alternative(&b, seed++, text_fields);
	const uint64_t before = clamav_scanned(rules->clamav);
	if (whole) {
		struct err e = { 0 };
		const char *name = NULL;
		tap_ok(clamav_scan_mem(rules->clamav, buf_view(&b), &name, &e) == 0, "the message alone is clean");
	} else {
		tap_is_int(virus_found(rules, buf_view(&b), &found), 0, "the message is clean");
	}
	buf_fini(&b);
	return clamav_scanned(rules->clamav) - before;
}

static void test_once(const struct filter_rules *rules)
{
	const uint64_t alone = scanned_of(rules, "", true), stage_of_it = scanned_of(rules, "", false), named = scanned_of(rules, NAMED, false);
	tap_ok(alone > (uint64_t)2 * LINES * 40, "the message is looked through: %llu bytes", (unsigned long long)alone);
	tap_is_int((long long)stage_of_it, (long long)alone, "body texts are not looked through again");
	tap_ok(named > alone + LINES * 40, "a named part is looked at as it would be saved: %llu bytes", (unsigned long long)named);
}

static unsigned scans_of(const struct filter_rules *rules, const char *message)
{
	struct found found;
	const uint64_t before = clamav_scans(rules->clamav);
	tap_ok(virus_found(rules, str_c(message), &found) >= 0, "it is scanned");
	return (unsigned)(clamav_scans(rules->clamav) - before);
}

/* What libclamav comes upon in the message is handed over once, and all else by itself. */
static void test_met(const struct filter_rules *rules)
{
	static const char pdf[] = "Content-Type: application/pdf\r\n" B64 "\r\nJVBERi0xLjQKbm90aGluZwo=\r\n";
	static const char zip[] = "Content-Type: application/x-y\r\n" B64 "\r\nAAECAwQFBgcICQoLDA0ODw==\r\n", zip2[] = "\r\n--B\r\n"
		"Content-Type: application/x-y\r\n" B64 "\r\nAAECAwQFBgcICQoLDA0ODg==\r\n";
	static const char xz[] = "\r\n--B\r\n" B64 "Content-Type: application/x-xz\r\n\r\n/Td6WFoAAATm1rRGAgAhARYAAAB0L+WjAQA7RCCCPP3m8cJrMPkOxw==\r\n";
	char text[4000];
	snprintf(text, sizeof(text), HEAD PARTS "%s" END, pdf);
	tap_is_int(scans_of(rules, text), 1, "a text and an attachment are met in the message");
	snprintf(text, sizeof(text), HEAD PARTS "%s%s%s%s" END, zip, zip2, zip2, zip2);
	tap_is_int(scans_of(rules, text), 1, "also some of one size, and the same ones");
	tap_is_int(scans_of(rules, HEAD PARTS NAMED QP "\r\nnotes=20of lines\r\n" END), 2, "a text with a name is handed over as it would be saved");
	tap_is_int(scans_of(rules, ODD_HEAD QP "\r\nnotes=20of lines\r\n"), 2, "where libclamav sees no mail the text is handed over");
	snprintf(text, sizeof(text), HEAD PARTS "%s%s" END, pdf, xz);
	tap_is_int(scans_of(rules, text), 4, "and where something is damaged");
}

/* The bytes of the last part are met in a partition, too, where they are no file; in the message they are another's, for a text that is unpacked gets a line end. */
static void test_met_elsewhere(const struct filter_rules *rules)
{
	enum { SECTOR = 512, LINE = 64, GROUPS = 48, ENTRY = 446 };
	static const unsigned char entry[16] = { 0x80, 0, 2, 0, 0x83, 0, 3, 0, 1, 0, 0, 0, 1, 0, 0, 0 };	/* one sector, the second */
	char disk[2 * SECTOR] = { 0 };
	struct buf m;
	buf_init(&m, 8000);
	memcpy(disk + ENTRY, entry, sizeof(entry));
	memcpy(disk + SECTOR - 2, "\x55\xaa", 2);
	memset(disk + SECTOR, 'w', SECTOR);
	for (int with = 0; with < 2; with++) {
		buf_reset(&m);
		buf_c(&m, HEAD PARTS);
		if (with == 1) {
			buf_c(&m, "Content-Type: application/x-y\r\n" B64 "\r\n");
			for (size_t i = 0; i < sizeof(disk); i += GROUPS) {
				base64_encode(&m, str_sub(str_n(disk, sizeof(disk)), i, GROUPS));
				buf_c(&m, "\r\n");
			}
			buf_c(&m, "--B\r\n");
		}
		buf_c(&m, NAMED QP "\r\n");
		for (size_t i = 0; i < SECTOR; i += LINE) {
			buf_str(&m, str_n(disk + SECTOR + i, LINE));
			buf_c(&m, i + LINE < SECTOR ? "=\r\n" : END);
		}
		tap_is_int(scans_of(rules, m.p), 2, with == 1 ? "what is met as a partition is not met as a file" : "the text is handed over");
	}
	buf_fini(&m);
}

static void test_found(const struct filter_rules *rules, bool listed)
{
	struct found link;
	tap_ok(virus_found(rules, str_c(forged), &link) >= 0, "a link is scanned");
	tap_is_str(link.name, listed ? "Heuristics.Phishing.Email.SpoofedDomain" : "", "a link that pretends to go elsewhere");
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct found found;
		const int r = virus_found(rules, str_c(cases[i].message), &found);
		tap_ok(r >= 0, "case %zu is scanned", i);
		tap_is_str(found.name, cases[i].found == NULL ? "" : cases[i].found, "case %zu", i);
	}
}

/* --- what was clean --- */

/* A file for which another of the same MD5 and size was made (X. Wang and others, 2004), after that one. */
static void test_remembered(const struct filter_rules *rules)
{
	static const char twin[] = HEAD PARTS B64 "Content-Type: application/x-y\r\n\r\n0THdAsXm7sRpPZoGmK/5XC/KtYcSRn6rQARYPrj7f4lVrTQGCfSzAoPkiIMlcUFaCFEl6PfNyZ/Z\r\n"
		"Hb3ygDc8W9iCPjFWNI9brm2s1DbJGcbdU+K0h9oD/QI5YwbSSM2g6Z8zQg9XfujOVLZwgKgNHsaY\r\n"
		"Iby2qIOTlvllK2/3KnA=\r\n" END;
	static const char infected[] = HEAD PARTS B64 "Content-Type: application/x-y\r\n\r\n0THdAsXm7sRpPZoGmK/5XC/KtQcSRn6rQARYPrj7f4lVrTQGCfSzAoPkiIMl8UFaCFEl6PfNyZ/Z\r\n"
		"Hb1ygDc8W9iCPjFWNI9brm2s1DbJGcbdU+I0h9oD/QI5YwbSSM2g6Z8zQg9XfujOVLZwgCgNHsaY\r\n"
		"Iby2qIOTlvllq2/3KnA=\r\n" END;
	struct found found;
	tap_is_int(virus_found(rules, str_c(twin), &found), 0, "a file is clean");
	tap_is_int(virus_found(rules, str_c(infected), &found), 1, "another with its digest and size is not");
	tap_is_str(found.name, "Test.Twin.UNOFFICIAL", "and its signature finds it");
}

/* --- trouble --- */

/* What libclamav gave up on is clean to it; the sender tries again. Its parser of mail alone sees what is in here. */
static void test_trouble(const struct filter_rules *rules)
{
	struct buf b;
	struct rlimit was, none;
	struct found found;
	if (!tap_ok(getrlimit(RLIMIT_FSIZE, &was) == 0, "a limit of bytes"))
		return;
	buf_init(&b, 1 << 16);
	buf_c(&b, HEAD "\r\nonce more\r\n\r\nbegin 644 x\r\n");
	for (unsigned i = 0; i < 120; i++)
		buf_c(&b, "M86%A86%A86%A86%A86%A86%A86%A86%A86%A86%A86%A86%A86%A86%A86%A\r\n");
	buf_c(&b, "182!W;W)M=V]R9\"!H97)E#0H \r\n`\r\nend\r\n");
	none = was;
	none.rlim_cur = 0;
	signal(SIGXFSZ, SIG_IGN);
	tap_ok(setrlimit(RLIMIT_FSIZE, &none) == 0, "nothing can be written");
	tap_ok(virus_found(rules, buf_view(&b), &found) < 0, "then the message is not checked");
	tap_ok(setrlimit(RLIMIT_FSIZE, &was) == 0, "all can be written again");
	tap_is_int(virus_found(rules, buf_view(&b), &found), 1, "the next time it is");
	tap_is_str(found.name, "Test.Word.UNOFFICIAL", "and what is in it is found");
	buf_fini(&b);
}

/* A part that is found in a file of a few bytes, and one in a file that is made of HTML: libclamav says nothing when it cannot make those. */
static const char small_part[] = HEAD "\r\nsee\r\n\r\nbegin 644 x\r\n182!W;W)M=V]R9\"!H97)E#0H \r\n`\r\nend\r\n";
static const char small_page[] = HEAD "Content-Type: text/html\r\n\r\n<html><body><b>bold</b>worm</body></html>\r\n";

static bool both_found(const struct filter_rules *rules)
{
	struct found found;
	return virus_found(rules, str_c(small_part), &found) == 1 && virus_found(rules, str_c(small_page), &found) == 1;
}

static bool none_clean(const struct filter_rules *rules)
{
	struct found found;
	return virus_found(rules, str_c(small_part), &found) != 0 && virus_found(rules, str_c(small_page), &found) != 0;
}

static void test_few_descriptors(const struct filter_rules *rules)
{
	struct rlimit was, few;
	struct found found;
	if (!tap_ok(getrlimit(RLIMIT_NOFILE, &was) == 0, "a limit of files"))
		return;
	few = was;
	for (few.rlim_cur = 3; few.rlim_cur < 24; few.rlim_cur++) {
		const bool set = setrlimit(RLIMIT_NOFILE, &few) == 0;
		const int part = virus_found(rules, str_c(small_part), &found), page = virus_found(rules, str_c(small_page), &found);
		tap_ok(set && setrlimit(RLIMIT_NOFILE, &was) == 0 && part < 0 && page < 0, "with %d descriptors nothing is checked", (int)few.rlim_cur);
	}
	tap_ok(both_found(rules), "with more it is");
}

/* A file system of its own, seen by nobody else. */
static bool mount_small(const char *space)
{
	return mkdir(space, 0700) == 0 && unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_SLAVE, NULL) == 0 &&
	       mount("test", space, "tmpfs", 0, "size=32m,nr_inodes=400") == 0;
}

/* All of the space but left bytes. */
static void fill_bytes(const char *name, off_t left)
{
	struct statfs s;
	const int fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0600);
	tap_ok(fd >= 0 && fstatfs(fd, &s) == 0 && fallocate(fd, 0, 0, (off_t)s.f_bavail * (off_t)s.f_bsize - left) == 0, "%lld bytes of the temporary space are left",
	       (long long)left);
	if (fd >= 0)
		close(fd);
}

/* Names of files: space/0 and so on. Returns how many there was place for. */
static unsigned fill_files(const char *space)
{
	char name[120];
	for (unsigned n = 0;; n++) {
		snprintf(name, sizeof(name), "%s/%u", space, n);
		const int fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0600);
		if (fd < 0)
			return n;
		close(fd);
	}
}

static void test_full(const struct filter_rules *rules)
{
	char space[100], name[120];
	struct err e = { 0 };
	struct found found;
	snprintf(space, sizeof(space), "%s/space", dir);
	if (!mount_small(space)) {
		tap_skip(1, "nothing can be mounted here");
		rmdir(space);
		return;
	}
	tap_ok(clamav_use_tmp(rules->clamav, space, &e) == 0, "a small space serves: %s", e.text);
	snprintf(name, sizeof(name), "%s/bytes", space);
	fill_bytes(name, 0);
	tap_ok(none_clean(rules), "nothing is called clean");
	unlink(name);
	fill_bytes(name, 6 << 20);
	tap_ok(virus_found(rules, str_c(HEAD "\r\nnothing\r\n"), &found) == 0, "in a small space an eighth is room, though messages may be larger");
	unlink(name);
	tap_ok(both_found(rules), "with room again all is found");
	unsigned n = fill_files(space);
	tap_ok(n > 300, "the space holds no more files");
	for (unsigned room = 0; room < 24 && n > 0; room++) {
		tap_ok(none_clean(rules), "with room for %u files nothing is called clean", room);
		snprintf(name, sizeof(name), "%s/%u", space, --n);
		unlink(name);
	}
	while (n > 0) {
		snprintf(name, sizeof(name), "%s/%u", space, --n);
		unlink(name);
	}
	tap_ok(both_found(rules), "with room again all is found");
	tap_ok(clamav_use_tmp(rules->clamav, dir, &e) == 0 && umount2(space, 0) == 0 && rmdir(space) == 0, "and nothing is left");
}

/* A damaged file will be as damaged the next time: what is known of it is said each time, nobody waits for better times. */
static void test_damaged(const struct filter_rules *rules)
{
	static const char message[] = HEAD PARTS B64 "Content-Type: application/x-xz\r\n\r\n/Td6WFoAAATm1rRGAgAhARYAAAB0L+WjAQA7RCCCPP3m8cJrMPkOxw==\r\n" END;
	struct found found;
	for (unsigned time = 0; time < 2; time++) {
		tap_ok(virus_found(rules, str_c(message), &found) >= 0, "a damaged file is scanned");
		tap_is_str(found.name, "not all could be looked into: cli_scanxz: premature end of compressed stream", "and said to be");
	}
	tap_ok(virus_found(rules, str_c(HEAD "\r\nnothing\r\n"), &found) == 0 && found.name[0] == '\0', "the next message is not");
}

/* A dictionary larger than the library, or the worker, has memory for is no virus. */
static void test_dictionary(const struct filter_rules *rules)
{
	static const char message[] = HEAD PARTS B64 "Content-Type: application/x-xz\r\n\r\n/Td6WFoAAATm1rRGAgAhAScAAACwsHLr4AAsACVdADmbyfLnULjF4ly01yHbwvO44YKIK/rTgF+B\r\n"
		"nZuO9WPqS9JOAAAAAAAASnPRwPG+4EUAAUEtGpc7jB+2830BAAAAAARZWg==\r\n" END;
	struct arena *a = arena_new(0);
	struct err e = { 0 };
	struct scan s = { .a = a, .rules = rules, .message = str_c(message) };
	s.root = mime_parse(a, s.message);
	outcome_groups(&s);
	tap_ok(stage_virus(&s, &e) >= 0, "an .xz with a large dictionary is scanned: %s", e.text);
	tap_ok(s.found[s.stage][CLASS_VIRUS].detail == NULL, "it is not called infected");
	tap_is_str(s.found[s.stage][CLASS_OVERLIMIT].detail, "Heuristics.XZ.DicSizeLimit", "but over the limits");
	arena_free(&a);
}

/* Whatever libclamav 1.4 reads is watched; a directory of nothing but settings has no signatures, and the shipped ones serve. */
static void test_watched(const struct conf *conf)
{
	static const char *const read[] = { "cvd", "cld", "cud", "pdb", "gdb", "ndb", "hdb", "hsb", "ldb", "mdb", "msb", "cdb", "db", "yar", "yara", "sdb", "zmd",
		"rmd", "imp", "wdb", "fp", "sfp", "ign", "ign2", "cfg", "ftm", "cat", "crb", "idb", "ioc", "pwdb", "cbc", "hdu", "hsu", "mdu", "msu", "ndu", "ldu", "HDU" };
	static const char *const others[] = { "txt", "info", "dat", "hdb.new", "sdbx" };
	char db[100], away[100], name[20];
	struct clamav *c = NULL;
	struct err e = { 0 };
	snprintf(db, sizeof(db), "%s/db", dir);
	snprintf(away, sizeof(away), "%s/away", dir);
	if (!tap_ok(rename(db, away) == 0 && mkdir(db, 0700) == 0 && signatures_fingerprint(db) == 0, "an empty directory"))
		return;
	for (size_t i = 0; i < ARRAY_LEN(read) + ARRAY_LEN(others); i++) {
		const bool is_read = i < ARRAY_LEN(read);
		snprintf(name, sizeof(name), "x.%s", is_read ? read[i] : others[i - ARRAY_LEN(read)]);
		const bool written = write_file(name, "x\n") == 0;
		const uint64_t first = signatures_fingerprint(db);
		const bool again = write_file(name, "longer\n") == 0;
		tap_ok(written && again && (first != 0) == is_read && (signatures_fingerprint(db) != first) == is_read, "%s is %swatched", name, is_read ? "" : "not ");
		remove_file(name);
	}
	tap_ok(write_file("x.fp", "") == 0 && clamav_load(conf, "etc/share/clamav", dir, &c, &e) == 0 && clamav_shipped(c),
	       "exceptions alone are no signatures: %s", e.text);
	clamav_free(&c);
	remove_file("x.fp");
	tap_ok(rmdir(db) == 0 && rename(away, db) == 0, "the signatures are there again");
}

/* Signatures that load, but find nothing: without the canary's no worker serves by them. */
static void test_canary(const struct conf *conf)
{
	struct clamav *c = NULL;
	struct err e = { 0 };
	char with[100], without[100];
	snprintf(with, sizeof(with), "%s/db/canary.ndb", dir);
	snprintf(without, sizeof(without), "%s/canary", dir);
	tap_ok(rename(with, without) == 0 && clamav_load(conf, "etc/share/clamav", dir, &c, &e) < 0 && strstr(e.text, "the canary was not found") != NULL,
	       "signatures that do not find the canary are refused: %s", e.text);
	tap_ok(rename(without, with) == 0, "and it is there again");
}

/* The engine is fitted to what is loaded: the same is found. */
static void test_loaded(struct filter_rules *rules, bool listed, const char *what)
{
	struct err e = { 0 };
	clamav_free(&rules->clamav);
	if (!tap_ok(clamav_load(rules->conf, "etc/share/clamav", dir, &rules->clamav, &e) == 0, "%s load: %s", what, e.text))
		return;
	tap_diag("%s", what);
	test_found(rules, listed);
	test_once(rules);
	test_met(rules);
	test_met_elsewhere(rules);
	test_remembered(rules);
	test_damaged(rules);
	test_dictionary(rules);
	test_trouble(rules);
	test_few_descriptors(rules);
	test_full(rules);
}

int main(void)
{
	struct filter_rules rules = { 0 };
	struct conf *conf = NULL;
	struct err e = { 0 };
	if (!tap_ok(databases() == 0, "signatures are written"))
		return tap_done();
	char text[100];
	snprintf(text, sizeof(text), "virus_database_directory = %s/db\n", dir);
	if (!tap_ok(conf_parse(str_c(text), "test", &conf, NULL, &e) == 0, "configuration: %s", e.text))
		return tap_done();
	rules.conf = conf;
	test_watched(conf);
	test_canary(conf);
	if (tap_ok(policies_load(conf, &rules.policies, &e) == 0, "policies load: %s", e.text)) {
		test_loaded(&rules, false, "few signatures");
		tap_ok(write_file("links.PDB", links) == 0, "a list of domains is written");
		test_loaded(&rules, true, "and a list of domains");
		tap_ok(write_many() == 0, "many signatures are written");
		test_loaded(&rules, true, "and many signatures");
	}
	filter_rules_free(&rules);
	clear();
	conf_free(&conf);
	return tap_done();
}
